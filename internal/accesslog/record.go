// Package accesslog writes one line per finished request or session. A Record is handed to
// Logger.Log, which never blocks; one goroutine formats and writes.
package accesslog

import "time"

// A Record is what is known of a request or session at its end. Strings come from clients
// and services as they are: formats escape them.
type Record struct {
	Time      time.Time     // when it began
	Duration  time.Duration // until its end
	RequestID string
	SessionID string // of a session
	Client    string // ip:port, or an address that a trusted proxy named
	Method    string
	Host      string
	Path      string // path and query, redacted by RedactTarget
	Status    int    // HTTP; 101 for a session; 0 for what is carried
	Protocol  string // HTTP/1.1, HTTP/2.0; TCP, TLS, UDP of what is carried

	Route    string
	Service  string
	Instance string
	Backend  string // host:port of the endpoint; agc format only
	User     string

	TLSVersion string
	TLSCipher  string
	UserAgent  string // agc and common formats only
	Referrer   string // likewise, redacted

	BytesIn  int64 // from the client: a request's body, a session's frames
	BytesOut int64

	Websocket   bool // a session, or a handshake that was answered 101 and closed; the rest is for it alone
	Subprotocol string
	MessagesIn  int64
	MessagesOut int64
	CloseCode   int // 0: none was seen
	CloseReason string
	ClosedBy    string // client, upstream, gateway
	Cause       string // also of a request that failed
	Moves       int
	Uncertain   int
}

// carried tells that the record is of a connection, or of a client's datagrams, that went to a backend as they were: TCPRoute,
// TLSRoute, UDPRoute.
func (r *Record) carried() bool { return r.Status == 0 }

// Formats by name.
const (
	FormatJSON   = "json"
	FormatAGC    = "agc"
	FormatCommon = "common"
)
