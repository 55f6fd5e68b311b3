package proxy

import "github.com/fairlead-gateway/fairlead/internal/http1"

// A fieldKind is what the gateway knows of a field by its name. All decisions about fields are made
// on kinds: a name is looked at once.
type fieldKind uint8

const (
	fieldOther fieldKind = iota // of no meaning to the gateway: passes

	// What concerns one connection (RFC 9110, section 7.6.1), or is taken so by old peers. Never passed on.
	fieldConnection
	fieldHop // Keep-Alive, Proxy-Connection, Proxy-Authenticate, Proxy-Authorization, HTTP2-Settings
	fieldUpgrade
	fieldTE
	fieldTrailer // passes with a body that can have trailers
	fieldContentLength
	fieldTransferEncoding
	fieldExpect
	fieldHost

	// What passes, and what a Connection field may not name: a client could otherwise make the gateway
	// drop what the service relies on (CVE-2024-45410 and its kin).
	fieldAuthorization
	fieldEndToEnd // Cookie, Set-Cookie, Content-Type, Origin

	// What the gateway writes itself; what a client sends under these names does not pass.
	fieldRequestID
	fieldForwardedFor
	fieldForwardedHost
	fieldForwardedPort
	fieldForwardedProto
	fieldForwardedPrefix
	fieldForwarded
	fieldHopChain // Fairlead-Hop
	fieldReserved // what only the gateway may say, and aliases of all these

	fieldHandshake // what is made anew in a WebSocket handshake (zowe.md, section 1.5)
	fieldUserAgent
	fieldReferer
	fieldLocation
)

// longestName is the length of the longest name that kindOf knows.
const longestName = len("x-certificate-distinguishedname")

// reservedPrefix begins the names of what only the gateway says, in lower case.
const reservedPrefix = "fairlead-"

// kindOf classifies a field by its name, in any case. "_" and "." count as "-": some servers take
// X_Forwarded_For for X-Forwarded-For. It allocates nothing.
func kindOf(name string) fieldKind {
	var low [longestName]byte
	n := min(len(name), len(low))
	alias := false
	for i := range n {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_' || c == '.':
			c, alias = '-', true
		}
		low[i] = c
	}
	if n > len(reservedPrefix) && string(low[:len(reservedPrefix)]) == reservedPrefix {
		if n == len(name) && !alias && string(low[:n]) == "fairlead-hop" {
			return fieldHopChain
		}
		return fieldReserved
	}
	if n < len(name) {
		return fieldOther
	}
	kind := knownKind(low[:n])
	if alias {
		if kind >= fieldRequestID && kind <= fieldReserved {
			return fieldReserved
		}
		return fieldOther
	}
	return kind
}

// knownKind looks a name in lower case up.
func knownKind(low []byte) fieldKind {
	switch string(low) {
	case "connection":
		return fieldConnection
	case "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "http2-settings":
		return fieldHop
	case "upgrade":
		return fieldUpgrade
	case "te":
		return fieldTE
	case "trailer":
		return fieldTrailer
	case "content-length":
		return fieldContentLength
	case "transfer-encoding":
		return fieldTransferEncoding
	case "expect":
		return fieldExpect
	case "host":
		return fieldHost
	case "authorization":
		return fieldAuthorization
	case "cookie", "set-cookie", "content-type", "origin":
		return fieldEndToEnd
	case "x-request-id":
		return fieldRequestID
	case "x-forwarded-for":
		return fieldForwardedFor
	case "x-forwarded-host":
		return fieldForwardedHost
	case "x-forwarded-port":
		return fieldForwardedPort
	case "x-forwarded-proto":
		return fieldForwardedProto
	case "x-forwarded-prefix":
		return fieldForwardedPrefix
	case "forwarded":
		return fieldForwarded
	// By these, services of this family learn of a client certificate that the gateway has
	// verified (zowe.md, section 5.5).
	case "x-certificate-public", "x-certificate-distinguishedname", "x-certificate-commonname":
		return fieldReserved
	case "cache-control", "pragma", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol",
		"sec-websocket-extensions", "sec-websocket-accept":
		return fieldHandshake
	case "user-agent":
		return fieldUserAgent
	case "referer":
		return fieldReferer
	case "location":
		return fieldLocation
	}
	return fieldOther
}

// endToEnd tells whether a Connection field may not name a field of kind k.
func (k fieldKind) endToEnd() bool {
	return k >= fieldAuthorization && k <= fieldForwarded || k == fieldHost || k == fieldContentLength
}

// kindsOf classifies all fields, into the array of kinds.
func kindsOf(fields http1.Fields, kinds []fieldKind) []fieldKind {
	kinds = kinds[:0]
	for i := range fields {
		kinds = append(kinds, kindOf(fields[i].Name))
	}
	return kinds
}

// namesFields tells whether a Connection field names anything but the usual options, so that
// other fields have to be compared with it.
func namesFields(fields http1.Fields, kinds []fieldKind) bool {
	for i, k := range kinds {
		if k != fieldConnection {
			continue
		}
		for option := range fields[i : i+1].Tokens(fields[i].Name) {
			switch kindOf(option) {
			case fieldHop, fieldUpgrade, fieldTE: // Keep-Alive, Upgrade and the like go anyway
			default:
				if len(option) != len("close") || !foldEqual(option, "close") {
					return true
				}
			}
		}
	}
	return false
}

// named tells whether a Connection field makes a field of that name one of its connection, save
// those that it may not name.
func named(fields http1.Fields, name string, kind fieldKind) bool {
	return !kind.endToEnd() && fields.HasToken("Connection", name)
}

// foldEqual compares without regard to ASCII case; lower is in lower case.
func foldEqual(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
