package proxy

import (
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// An exchange is one request on its way through the gateway. It keeps the table and the
// settings that were current when the request came: no decision is made on two of them.
type exchange struct {
	table      *route.Table
	settings   *Settings
	origin     origin
	path       string           // raw, as received
	query      string           // raw, with its "?", or ""
	offer      *websocket.Offer // what the client's handshake asks for; nil for a plain request
	serviceURL string           // where a session goes, redacted
	target     string           // path and query, redacted: for logs and error texts
	hops       []string         // gateways that the request has passed
	hopID      string           // this one's
	record     accesslog.Record
}

func (s *Server) newExchange(r *http.Request) *exchange {
	x := &exchange{table: s.Table(), settings: s.settings.Load(), hops: hops(r.Header), hopID: s.hopID}
	x.origin = originOf(r, x.settings.trusted)
	x.path, x.query = splitTarget(r)
	x.target = accesslog.RedactTarget(x.path + x.query)
	x.record = accesslog.Record{
		Time: time.Now(), RequestID: requestID(r.Header), Client: x.client(), Method: r.Method, Host: x.origin.host,
		Path: x.target, Protocol: r.Proto, UserAgent: r.UserAgent(), Referrer: accesslog.RedactTarget(r.Referer()),
	}
	if r.TLS != nil {
		x.record.TLSVersion, x.record.TLSCipher = tls.VersionName(r.TLS.Version), tls.CipherSuiteName(r.TLS.CipherSuite)
	}
	return x
}

// client is the address for the log: host:port of the peer, or the address that a trusted
// proxy vouches for.
func (x *exchange) client() string {
	if x.origin.addr == x.origin.peer.Addr() {
		return x.origin.peer.String()
	}
	return x.origin.addr.String()
}

// route notes where the request goes.
func (x *exchange) route(m route.Match) {
	x.record.Route, x.record.Service = m.ID, m.ServiceID
}

// describe fills in what is kept of a session once it is open.
func (x *exchange) describe(ss *Session, subprotocol string) {
	x.record.Status, x.record.Websocket, x.record.Subprotocol = http.StatusSwitchingProtocols, true, subprotocol
	ss.opening = accesslog.Pack(&x.record, x.serviceURL)
	ss.secure = x.origin.proto == "https"
}

// splitTarget returns the path and the query of a request exactly as the client wrote
// them. An absolute-form target (RFC 9112, section 3.2.2) loses its scheme and authority:
// net/http has already made that authority the request's Host.
func splitTarget(r *http.Request) (path, query string) {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			i := strings.IndexAny(rest, "/?")
			if i < 0 {
				rest, i = rest+"/", len(rest)
			}
			if i == 0 || strings.ContainsRune(rest[:i], '@') {
				return "", "" // no authority, or a user in it (RFC 9110, section 4.2.4): no path is acceptable
			}
			target = rest[i:]
		}
	}
	if i := strings.IndexByte(target, '?'); i >= 0 {
		path, query = target[:i], target[i:]
	} else {
		path = target
	}
	return path, query
}

// harmless are the characters of a request id that is taken over.
const harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// requestID takes the client's X-Request-Id if it is harmless, else makes one.
func requestID(h http.Header) string {
	if id := h.Get("X-Request-Id"); len(id) >= 1 && len(id) <= 64 && strings.Trim(id, harmless) == "" {
		return id
	}
	return uuid.NewString()
}

// log writes the exchange's line: one per request, whatever became of it.
func (s *Server) log(x *exchange) {
	x.record.Duration = time.Since(x.record.Time)
	s.AccessLog.Log(x.record)
}
