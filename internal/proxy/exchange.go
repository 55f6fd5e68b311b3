package proxy

import (
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A client is the client's side of an exchange. HTTP/1.1 (h1Client) and HTTP/2 (h2Client) are behind
// it. Body and answer may be used beside each other.
type client interface {
	http1.Sink // of the answer's content, behind Respond

	// Interim sends an answer of status 100 to 199.
	Interim(status int, fields http1.Fields) error

	// Respond begins the final answer; its head leaves with the first content, Flush or Finish.
	Respond(a *http1.Answer)

	// Flush sends what waits.
	Flush() error

	// Reply answers with a whole body.
	Reply(a *http1.Answer, content []byte) error

	// Sent is the content of the answer that has been taken, in bytes.
	Sent() int64

	// SetLimit bounds all waits for the client together; the zero time takes the bound off.
	SetLimit(t time.Time)

	// Watch calls gone, once and from elsewhere, if the client goes away meanwhile; Unwatch ends that.
	Watch(r loop.Runner, gone func(error))
	Unwatch()
}

// A body is the client's: *http1.Body and h2Body.
type body interface {
	http1.Source

	// Whole returns all of it if it has come already; it never waits.
	Whole() (content []byte, ok bool)

	// Count is the content read so far, in bytes.
	Count() int64

	// Limit has Next fail with an *http1.Error of status 413 behind so many bytes; 0 is no bound.
	Limit(most int64)
}

// An exchange is one request on its way through the gateway. It keeps the table and the
// settings that were current when the request came: no decision is made on two of them.
type exchange struct {
	client
	body    body
	run     loop.Runner
	conn    *clientConn
	request *http1.Request
	h1      *http1.Exchange // nil for HTTP/2: there is no connection to take over

	table    *route.Table
	settings *Settings
	listener *route.Listener // by which the request came, as the table has it; nil on gateway.listeners
	host     *route.Host     // of listener, whose rules count
	hostname string          // of the request: without port, in lower case. Only with a listener
	origin   origin
	path     string // raw, as received
	query    string // raw, with its "?", or ""
	target   string // path and query, redacted: for logs and error texts
	hops     string // gateways that the request has passed, as a list of ids; "" for none
	hopID    string // this one's

	kinds       []fieldKind // of request.Fields
	answerKinds []fieldKind // scratch of answerFields
	named       bool        // the Connection field names other fields
	upgrade     bool        // there is an Upgrade field
	ambiguous   bool        // some services would take the path for that of another route, which asks who it is
	trailers    bool        // TE says that the client takes trailers

	allowOrigin string // Access-Control-Allow-Origin of the answer; "": the gateway does not say it

	ruled   bool         // the rule says all of CORS that the answer says: sharing
	sharing http1.Fields // nothing: the page may not read the answer

	identity *auth.Identity    // of the client, where the route asks who it is
	withheld withheld          // from services
	armed    map[string]string // tokens that subprotocols were, by what those begin with; nil: there were none
	armedAs  string            // the first of these subprotocols

	to    target                                    // where it goes
	asked route.Request                             // of a rule: what it is found by
	field func(name string) (value string, ok bool) // of the request; made once

	head  []byte      // scratch for the head that goes to a service
	leash leash       // ends the wait for a service
	gone  func(error) // leash.end
	call  call        // of a plain request; answer is that of a handshake, too
	kept  kept        // of the body of a plain request

	handshake websocket.Request // of a session: opening
	shaking   http1.ClientConn  // with a service
	opened    upstreamConn      // what came of it

	// What a panic would leave behind; see wreck.
	service net.Conn           // to the service, nil once it belongs to somebody else
	slot    *upstream.Endpoint // on which a session's place is taken
	session *Session           // listed, and not yet the relay's

	offer      *websocket.Offer // what the client's handshake asks for; nil for a plain request
	sessionID  uuid.UUID        // of the session that it is to become
	serviceURL string           // where a session goes, redacted
	taken      bool             // the connection belongs to a session, or is closed
	record     accesslog.Record
}

// exchanges are reused: nothing of one is used after free but strings.
var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.gone, x.field = x.leash.end, x.fieldValue
	return x
}}

// maxScratch is how large a head may be, in bytes, whose buffer is kept.
const maxScratch = 16 << 10

// free gives x back.
func (x *exchange) free() {
	head, kinds, answerKinds, fields := x.head, x.kinds, x.answerKinds, x.call.answer.Fields
	if cap(head) > maxScratch {
		head = nil
	}
	clear(fields[:cap(fields)])
	x.leash.reset()
	x.shaking.Reset(nil)
	x.handshake, x.opened = websocket.Request{}, upstreamConn{}
	x.client, x.body, x.run, x.conn, x.request, x.h1 = nil, nil, nil, nil, nil, nil
	x.table, x.settings, x.origin, x.offer, x.call = nil, nil, origin{}, nil, call{}
	x.listener, x.host, x.hostname = nil, nil, ""
	x.path, x.query, x.target, x.hops, x.serviceURL = "", "", "", "", ""
	x.service, x.slot, x.session, x.allowOrigin = nil, nil, nil, ""
	x.ruled, x.sharing = false, nil
	x.to, x.asked, x.kept = target{}, route.Request{}, kept{}
	x.identity, x.withheld, x.armed, x.armedAs = nil, withheld{}, nil, ""
	x.record, x.named, x.upgrade, x.ambiguous, x.trailers, x.taken = accesslog.Record{}, false, false, false, false, false
	x.head, x.kinds, x.answerKinds, x.call.answer.Fields = head[:0], kinds[:0], answerKinds[:0], fields[:0]
	exchanges.Put(x)
}

// wreck gives back what an exchange held that a panic has ended. Whoever runs it ends the client's connection.
func (s *Server) wreck(x *exchange) {
	if x.service != nil {
		_ = x.service.Close()
	}
	if x.slot != nil {
		x.slot.Release()
	}
	if x.call.stream != nil {
		x.call.stream.cancel(errClientGone)
	}
	if x.session != nil { // a plain request has its line by now
		s.Sessions.remove(x.session)
		x.record.Status, x.record.Cause = http.StatusInternalServerError, "panic"
		s.log(x)
	}
}

// now is the time, as the loop has it.
func (x *exchange) now() time.Time {
	if l := x.run.Loop(); l != nil {
		return l.Now()
	}
	return time.Now()
}

// closeAfter makes this exchange the last of its connection, where a connection has one at a time.
func (x *exchange) closeAfter() {
	if x.h1 != nil {
		x.h1.Conn().CloseAfter()
	}
}

// begin reads what every request is judged by.
func (s *Server) begin(x *exchange) {
	r := x.request
	x.table, x.settings, x.hopID = s.Table(), s.settings.Load(), s.hopID
	x.origin = originOf(x.conn, r, x.settings.trusted)
	x.path, x.query = r.PathQuery, ""
	if i := strings.IndexByte(r.PathQuery, '?'); i >= 0 {
		x.path, x.query = r.PathQuery[:i], r.PathQuery[i:]
	}
	x.target = accesslog.RedactTarget(r.PathQuery, x.settings.tokenQueries...)
	x.record = accesslog.Record{
		Time: time.Now(), Client: x.clientText(), Method: r.Method, Host: x.origin.host, Path: x.target, Protocol: x.conn.protocol(r.Minor),
	}
	x.survey()
	if x.record.RequestID == "" {
		x.record.RequestID = newRequestID()
	}
	if x.conn.tlsVersion != 0 {
		x.record.TLSVersion, x.record.TLSCipher = x.conn.tlsNames()
	}
}

// survey classifies the request's fields, and notes what the log and the guards want of them.
func (x *exchange) survey() {
	fields := x.request.Fields
	x.kinds = kindsOf(fields, x.kinds)
	x.named = namesFields(fields, x.kinds)
	for i, kind := range x.kinds {
		value := fields[i].Value
		switch kind {
		case fieldRequestID:
			if x.record.RequestID == "" && isHarmless(value) {
				x.record.RequestID = value
			}
		case fieldUserAgent:
			x.record.UserAgent = value
		case fieldReferer:
			x.record.Referrer = accesslog.RedactTarget(value, x.settings.tokenQueries...)
		case fieldUpgrade:
			x.upgrade = true
		case fieldTE:
			x.trailers = x.trailers || fields[i:i+1].HasToken(fields[i].Name, "trailers")
		case fieldHopChain:
			x.hops = hops(fields)
		}
	}
}

// clientText is the address for the log: host:port of the peer, or the address that a trusted
// proxy vouches for.
func (x *exchange) clientText() string {
	if x.origin.addr == x.origin.peer.Addr() {
		return x.conn.peerText
	}
	return x.origin.addr.String()
}

// route notes where the request goes.
func (x *exchange) route(m *route.Match) {
	x.to.Match, x.to.service, x.to.name, x.to.policy = *m, m.Service, m.ServiceID, m.Policy
	x.record.Route, x.record.Service = m.ID, m.ServiceID
}

// harmless are the characters of a request id that is taken over.
const harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// isHarmless tells whether a client's X-Request-Id is taken over.
func isHarmless(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// newRequestID makes a random UUID (RFC 9562, section 5.4). It guards nothing, so the runtime's generator is
// good enough.
func newRequestID() string {
	const digits = "0123456789abcdef"
	high := rand.Uint64()&^0xf000 | 0x4000
	low := rand.Uint64()&^(3<<62) | 2<<62
	var id [36]byte
	for at, i := 0, 0; i < 32; i++ {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			id[at] = '-'
			at++
		}
		v := high
		if i >= 16 {
			v = low
		}
		id[at] = digits[v>>(60-4*(i%16))&15]
		at++
	}
	return string(id[:])
}

// log writes the exchange's line: one per request, whatever became of it.
func (s *Server) log(x *exchange) {
	x.record.Duration = time.Since(x.record.Time)
	s.tally.request(&x.record, x.offer != nil)
	s.AccessLog.Log(&x.record)
}
