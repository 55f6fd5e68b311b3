package kubernetes

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// off is how a Policy says that there is no bound.
const off = time.Duration(-1)

// durationForm is GEP-2257's.
var durationForm = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)

var errNoDuration = errors.New(`no duration: want one like "500ms", "30s" or "1h30m"`)

// parseDuration reads a Duration of the Gateway API (GEP-2257).
func parseDuration(d gatewayv1.Duration) (time.Duration, error) {
	if !durationForm.MatchString(string(d)) {
		return 0, errNoDuration
	}
	return time.ParseDuration(string(d))
}

// timeout reads a field where zero switches a bound off and absence says nothing.
func timeout(field string, d *gatewayv1.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	v, err := parseDuration(*d)
	if err != nil {
		return 0, fmt.Errorf("%s %q: %w", field, *d, err)
	}
	if v == 0 {
		return off, nil
	}
	return v, nil
}
