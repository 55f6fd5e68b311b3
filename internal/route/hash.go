package route

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Hash is what `loadBalancing: hash` goes by. At most one is said; nothing said is ClientAddress. It is one field of a Policy.
type Hash struct {
	// Header is the name of a field of the request. A request without it is balanced as if nothing was said of loadBalancing.
	Header string `yaml:"header"`

	// Cookie is the name of a cookie that the service sets. A request without it is balanced as if nothing was said.
	Cookie string `yaml:"cookie"`

	// ClientAddress is the client's address, without its port: true or not said. Default where hash says nothing else.
	ClientAddress bool `yaml:"clientAddress"`

	// User is who the gateway has let in, else the subject of a JWT in cookie apimlAuthenticationToken or in a Bearer
	// credential, which is not verified for this: true or not said. A request without either is balanced as if nothing was said.
	User bool `yaml:"user"`
}

func (h *Hash) check() error {
	said := 0
	for _, yes := range []bool{h.Header != "", h.Cookie != "", h.ClientAddress, h.User} {
		if yes {
			said++
		}
	}
	if said > 1 {
		return errors.New("want one of header, cookie, clientAddress and user")
	}
	for _, name := range []string{h.Header, h.Cookie} {
		if strings.ContainsAny(name, " \t\r\n\"(),/:;<=>?@[\\]{}") {
			return fmt.Errorf("%q: it is no token", name)
		}
	}
	return nil
}

// hashName and hashFlag make the fields of a Hash, which is overlaid as a whole.
func hashName(name string, at func(*Hash) *string) field {
	return hashField(newField(name, func(p *Policy) *string { return at(&p.Hash) }, func(value string) (string, error) {
		if value == "" {
			return "", errors.New("want a name")
		}
		return value, nil
	}, nil))
}

func hashFlag(name string, at func(*Hash) *bool) field {
	return hashField(newField(name, func(p *Policy) *bool { return at(&p.Hash) }, func(value string) (bool, error) {
		if yes, err := strconv.ParseBool(value); err != nil || !yes {
			return false, fmt.Errorf("%q: want true; leave it out otherwise", value)
		}
		return true, nil
	}, nil))
}

func hashField(f field) field {
	f.check = func(p *Policy) error { return p.Hash.check() }
	f.overlay = func(p, over *Policy) {
		if over.Hash != (Hash{}) {
			p.Hash = over.Hash
		}
	}
	return f
}
