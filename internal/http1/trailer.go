package http1

import "strings"

// forbiddenTrailers, in lower case, have their meaning only in a head (RFC 9110, section 6.5.1).
var forbiddenTrailers = []string{
	// Framing and the connection.
	"connection", "content-length", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
	"upgrade",
	// Routing, and who the client is.
	"forwarded", "host", "max-forwards", "origin", "via", "x-real-ip",
	// Authentication and state.
	"authorization", "cookie", "proxy-authenticate", "proxy-authorization", "set-cookie",
	"www-authenticate",
	// What the request asks for.
	"expect", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "pragma", "range",
	// How the content is read.
	"content-encoding", "content-location", "content-range", "content-type",
	// What caches and clients do with a response before its content.
	"age", "cache-control", "date", "expires", "location", "retry-after", "vary", "warning",
}

// gatewayTrailers begin, in lower case, the names of what a gateway says to services.
var gatewayTrailers = []string{"x-forwarded-", "fairlead-", "x-request-id"}

// ForbiddenTrailer tells whether name has no place in a trailer section: fields for framing, routing, authentication,
// request modifiers, content format and caching (RFC 9110, section 6.5.1), and those that a gateway sets (X-Forwarded-* and
// the like), also with "_" or "." for "-", which some servers take for the same.
func ForbiddenTrailer(name string) bool {
	for _, forbidden := range forbiddenTrailers {
		if equalFold(name, forbidden) {
			return true
		}
	}
	plain := strings.NewReplacer("_", "-", ".", "-").Replace(name)
	for _, start := range gatewayTrailers {
		if len(plain) >= len(start) && equalFold(plain[:len(start)], start) {
			return true
		}
	}
	return false
}
