package admin

import "github.com/fairlead-gateway/fairlead/internal/auth"

// Config is the section admin of fairlead.yaml: who may use the protected endpoints below /application.
type Config struct {
	auth.BasicConfig `yaml:",inline"`
}
