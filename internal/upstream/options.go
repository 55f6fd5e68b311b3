package upstream

import "maps"

// Options are what a source says of a service beside where it runs. The zero value is a service that speaks HTTP/1.1,
// whose certificates are judged as the Dialer says, and which is not probed.
type Options struct {
	// Protocol is what requests go over; a WebSocket takes HTTP/1.1 whatever it says.
	Protocol Protocol

	// TLS says how https endpoints are reached. Nil: as the Dialer's own TLS says. Read it only, once it is given away.
	TLS *TLSSettings

	// Probe asks the endpoints whether they are well. The zero value asks nothing: they are as well as their source says.
	Probe Probe

	// Outliers say when endpoints are ejected. The zero value ejects nobody.
	Outliers Outliers

	// Panic has sessions and requests go to any endpoint that is not leaving when none is well: all Unhealthy or ejected.
	Panic bool

	// Weights are the shares of endpoints by their ID, 0 to MaxWeight; one that is not there has 1. Read it only, once it is given away.
	Weights map[string]int
}

func (o *Options) equal(other *Options) bool {
	return o.Protocol == other.Protocol && o.Probe == other.Probe && o.Outliers == other.Outliers && o.Panic == other.Panic &&
		o.TLS.equal(other.TLS) && maps.Equal(o.Weights, other.Weights)
}

// Protocol names a version of HTTP, as a service speaks it.
type Protocol string

const (
	HTTP1 Protocol = ""    // HTTP/1.1, in clear text or over TLS
	H2C   Protocol = "h2c" // HTTP/2 in clear text, with prior knowledge (RFC 9113, section 3.3)
	H2    Protocol = "h2"  // HTTP/2 over TLS, by ALPN
)
