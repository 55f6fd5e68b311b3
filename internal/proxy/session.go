package proxy

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// switchTimeout bounds how long the 101, and what follows it when a session cannot start,
// may take to leave for the client.
const switchTimeout = 10 * time.Second

// startSession is a session's life from the request to the relay, in the order of its
// steps: check, match, authenticate, count, pick, dial, answer, hand over. Whatever fails
// goes to refuse. When it returns nothing of the HTTP engine is left behind the session.
func (s *Server) startSession(x *exchange) {
	if err := x.openHandshake(); err != nil {
		s.refuse(x, failed(err, x.target, ""), nil)
		return
	}
	m, ok := s.match(x)
	if !ok {
		s.refuse(x, s.unrouted(x), x.settings.unroutedPolicy)
		return
	}
	x.route(&m)
	if f := x.pathRefused(); f != nil {
		s.refuse(x, f, m.Policy)
		return
	}
	if err := s.admitSession(x, m.Policy); err != nil {
		s.refuse(x, failed(err, x.target, m.ServiceID), m.Policy)
		return
	}
	s.openSession(x)
}

// openSession opens the session at the exchange's target.
func (s *Server) openSession(x *exchange) {
	policy := x.to.policy
	x.aim()
	ss := &Session{id: x.sessionID}
	if which := s.Sessions.add(ss, s.tally.of(x.to.ID), x.to.ID, x.origin.addr, x.settings.limits.Sessions, &policy.WebSocket); which != "" {
		s.refused.Add(1)
		s.refuse(x, overLimit(which), policy)
		return
	}
	x.session = ss
	up, err := s.connect(x, ss)
	if err != nil {
		x.session = nil
		s.Sessions.remove(ss)
		s.refuse(x, failed(err, x.target, x.to.name), policy)
		return
	}
	x.takeReport(&up.fields, ss.endpoint.Load())
	failover := s.keep(x, ss, up)
	fields := x.pin(x.switchFields(up, failover != route.FailoverOff), ss.endpoint.Load())
	l := x.sessionLoop(s.engine)
	x.describe(ss, up.agreed.Protocol)
	client, head := x.takeOver()
	if err := x.answerSwitch(client, fields); err != nil {
		s.abandon(x, ss, up, client)
		return
	}
	ss.owner, ss.key, ss.bound = s, x.to.key, x.to.key == 0 && (x.to.stay.rule != nil || x.to.instance != "")
	deflate := up.agreed.Deflate()
	clientSide := relay.Side{Stream: loop.Attach(l, client), Head: head, Deflate: deflate}
	upstreamSide := relay.Side{Stream: loop.Attach(l, up.conn), Head: up.head, Deflate: deflate}
	ss.policy = s.sessionPolicyOf(policy, failover)
	ss.places.tally.opened.Add(1)
	identity := x.identity
	ss.granted = identity != nil
	x.service, x.slot, x.session = nil, nil, nil // the relay's
	l.Post(func() {                              // on the loop, so that the session is listed before its first byte moves
		r := relay.Start(l, clientSide, upstreamSide, &ss.policy.relay, ss)
		ss.relay.Store(r)
		if identity != nil {
			s.let(ss, identity)
		}
		// What comes to all sessions may have passed this one before it was listed.
		if s.stopping.Load() {
			r.Close(websocket.GoingAway, shutdownReason, causeShutdown)
		}
		ss.heed(r)
	})
}

// openHandshake reads what the client's handshake asks for, and names the session that it is to become. The error is a
// *websocket.HandshakeError.
func (x *exchange) openHandshake() (err error) {
	if x.offer, err = websocket.CheckRequest(x.opening()); err != nil {
		return err
	}
	x.sessionID = uuid.New()
	x.record.SessionID = x.sessionID.String()
	return nil
}

// wantsSession tells whether the request is a WebSocket handshake. The error is a *websocket.HandshakeError.
func (x *exchange) wantsSession() (bool, error) {
	if !x.upgrade {
		return false, nil
	}
	return websocket.IsUpgrade(x.opening())
}

// opening is what the handshake is judged by.
func (x *exchange) opening() *websocket.Request {
	x.handshake = websocket.Request{
		Method: x.request.Method, HTTP11: x.h1 != nil && x.request.Minor == 1, Fields: &x.request.Fields,
		Body: !x.request.Body.Empty() || x.request.Body.Kind == http1.Chunked,
	}
	return &x.handshake
}

// sessionLoop is the loop for the session: that of the client's connection, if it is on one.
func (x *exchange) sessionLoop(e *loop.Engine) *loop.Loop {
	if l := x.run.Loop(); l != nil {
		return l
	}
	return e.Loop()
}

// takeOver takes the client's connection out of the HTTP engine, with what the client has sent behind its request. What is
// left of x are its strings and its record: the HTTP engine's part serves another client from here on.
func (x *exchange) takeOver() (client net.Conn, head []byte) {
	x.taken = true
	x.conn.state.Store(connEnded)
	h := x.h1
	x.client, x.body, x.request, x.h1 = nil, nil, nil, nil
	return h.TakeOver()
}

// keep sees to it that the session can go on at another endpoint, where its route says so, and returns what becomes of it.
func (s *Server) keep(x *exchange, ss *Session, up *upstreamConn) route.Failover {
	failover := x.to.policy.WebSocket.FailoverOf(x.query, up.agreed.Protocol)
	if failover == route.FailoverOff {
		return failover
	}
	if len(x.head) > maxKeptHead {
		s.Log.Warn("failover off for a session: its handshake is too large to be kept",
			"session_id", x.record.SessionID, "bytes", len(x.head), "most", maxKeptHead)
		return route.FailoverOff
	}
	ss.head = keepHead(x.head, &x.record, up.agreed.Extensions, x.hostName(x.to.policy) != "")
	return failover
}

// describe fills in what is kept of a session once it is open.
func (x *exchange) describe(ss *Session, subprotocol string) {
	x.record.Status, x.record.Websocket, x.record.Subprotocol = http.StatusSwitchingProtocols, true, subprotocol
	ss.opening = accesslog.Pack(&x.record, x.serviceURL)
	ss.secure = x.origin.proto == "https"
}

// admitSession decides whether the client may open the session: its Origin, then its credentials.
func (s *Server) admitSession(x *exchange, p *route.Policy) error {
	origins := x.request.Fields.Values("Origin")
	if len(origins) > 1 || len(origins) == 1 && (origins[0] == "" || !p.AllowsOrigin(origins[0], x.origin.proto, x.origin.host)) {
		return originRefused()
	}
	return s.authenticate(x, p)
}

// connect opens the session at an endpoint; one that fails as mayReopen says is passed over for another. On success ss holds the
// endpoint's slot, which Done gives back.
func (s *Server) connect(x *exchange, ss *Session) (up *upstreamConn, err error) {
	first, rest := x.to.path()
	q := &handshakeRequest{
		target: first + rest + x.query, key: websocket.NewKey(),
		forwards: forwards{prefix: x.to.prefix(), sessionID: x.record.SessionID, edits: x.to.edits, stay: x.to.stay.rule},
		deflate:  x.offer.Deflate,
	}
	if x.to.policy.WebSocket.FailoverOf(x.query, "") != route.FailoverOff {
		q.deflate = websocket.OfferWithoutContext(q.deflate)
	}
	x.Watch(x.run, x.gone)
	defer x.Unwatch()
	var tried []*upstream.Endpoint
	ep, err := x.to.take(nil)
	if err != nil {
		return nil, err
	}
	for {
		ss.endpoint.Store(ep)
		x.slot = ep
		x.record.Instance, x.record.Backend = ep.ID, ep.Address()
		began := stopwatch(ep)
		if up, err = x.attempt(x.to.policy, ep, q); err == nil {
			well(ep, began)
			return up, nil
		}
		x.slot = nil
		ep.Release()
		if gone := x.leash.ended(); gone != nil {
			return nil, gone
		}
		if len(tried) == 0 || !x.spent() { // else others have used the time up
			noteHandshake(ep, began, err)
		}
		tried = append(tried, ep)
		next := x.another(tried, err)
		if next == nil {
			return nil, err
		}
		s.Log.Warn("no session at an endpoint, another is tried", "service", x.to.name, "instance", ep.ID, "err", err)
		ep = next
	}
}

// attempt shakes hands with the endpoint, within timeouts.handshake, and within those of a request, which end at the 101.
func (x *exchange) attempt(p *route.Policy, ep *upstream.Endpoint, q *handshakeRequest) (*upstreamConn, error) {
	now, timeouts := x.now(), p.Timeouts.Effective()
	deadline := now.Add(timeouts.Handshake)
	if timeouts.BackendRequest > 0 {
		deadline = earlier(deadline, now.Add(timeouts.BackendRequest))
	}
	if timeouts.Request > 0 {
		deadline = earlier(deadline, x.record.Time.Add(timeouts.Request))
	}
	conn, err := x.dial(p, ep, deadline)
	if err != nil {
		return nil, err
	}
	q.host = x.hostFor(ep)
	up, err := x.openUpstream(conn, ep, q, deadline)
	if err != nil {
		return nil, err
	}
	x.serviceURL = webSocketScheme(ep) + "://" + ep.Address() + accesslog.RedactTarget(q.target, x.settings.tokenQueries...)
	return up, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func overLimit(which string) *failure {
	return &failure{
		status: http.StatusServiceUnavailable, cause: "limit reached: " + which,
		message: ErrorMessage("ZWEAO503E", "org.zowe.apiml.common.serviceUnavailable",
			"The server is not ready to handle the request: %s", "too many "+which),
		fields: http1.Fields{{Name: "Retry-After", Value: "5"}},
		code:   websocket.TryAgain, reason: "Too many " + which + ", try again later",
	}
}

// refuse answers a handshake that becomes no session: with a status, or under
// connectFailure "close" with a 101 and a Close that says why, since a browser shows its
// page neither status nor body. p is nil where only a status is possible.
func (s *Server) refuse(x *exchange, f *failure, p *route.Policy) {
	x.record.Cause = f.cause
	if f.answer != nil {
		defer f.answer.conn.Close()
	}
	if f.http || p == nil || p.WebSocket.ConnectFailure != route.CloseOnFailure || f.status == statusClientGone {
		s.refuseStatus(x, f)
		return
	}
	fields := http1.Fields{{Name: "X-Request-Id", Value: x.record.RequestID}}
	// A browser fails a 101 that lacks the subprotocol it asked for, and would then not see the Close.
	if len(x.offer.Protocols) > 0 {
		fields.Add("Sec-WebSocket-Protocol", x.offer.Protocols[0])
		x.record.Subprotocol = x.offer.Protocols[0]
	} else if x.armedAs != "" {
		fields.Add("Sec-WebSocket-Protocol", x.armedAs)
	}
	reason := websocket.Reason(f.reason)
	x.record.Status, x.record.Websocket = http.StatusSwitchingProtocols, true
	x.record.CloseCode, x.record.CloseReason, x.record.ClosedBy = int(f.code), reason, relay.Gateway.String()
	client, _ := x.takeOver()
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(switchTimeout))
	if x.writeSwitch(client, fields) == nil {
		if _, err := client.Write(websocket.AppendClose(nil, nil, f.code, reason)); err == nil {
			awaitClose(client, p.Limits().CloseTimeout)
		}
	}
	s.log(x)
}

// refuseStatus answers with a status, and ends the connection: what the client sent behind its
// handshake is no request (RFC 9931).
func (s *Server) refuseStatus(x *exchange, f *failure) {
	x.closeAfter()
	if f.answer == nil {
		s.fail(x, f)
		s.log(x)
		return
	}
	until := time.Now().Add(answerBodyTimeout)
	f.answer.conn.SetLimit(until)
	x.SetLimit(until)
	head := f.answer.head
	x.record.Status = f.status
	x.Respond(&http1.Answer{Status: f.status, Reason: head.Reason, Fields: x.edited(x.answerFields(head.Fields)), Body: head.Body})
	// An answer that is not whole ends with its connection.
	_ = http1.Copy(x.client, &cappedBody{Source: f.answer.conn.Body(), left: maxAnswerBody})
	x.record.BytesOut = x.Sent()
	s.log(x)
}

// A cappedBody is a body of which no more than so many bytes are wanted.
type cappedBody struct {
	http1.Source
	left int
}

var errAnswerTooLarge = errors.New("answer to the handshake: body too large")

func (b *cappedBody) Next() ([]byte, error) {
	p, err := b.Source.Next()
	if b.left -= len(p); b.left < 0 {
		return nil, errAnswerTooLarge
	}
	return p, err
}

// awaitClose reads what the client still sends until its Close, its end, or timeout, so
// that our Close is not lost to a reset (RFC 6455, section 7.1.1: the server closes first,
// but only after the client's Close has come or its time is up).
func awaitClose(c net.Conn, timeout time.Duration) {
	_ = c.SetDeadline(time.Now().Add(timeout))
	cur := websocket.NewCursor(true, false)
	buf := make([]byte, 1024)
	for total := 0; total < 1<<20; {
		n, err := c.Read(buf)
		if total += n; err != nil || sawClose(&cur, buf[:n]) {
			return
		}
	}
}

// sawClose reports whether p holds the rest of a Close, or breaks a rule: either ends the wait.
func sawClose(cur *websocket.Cursor, p []byte) bool {
	for len(p) > 0 {
		kind, n, err := cur.Next(p)
		if err != nil || kind == websocket.Control && cur.Opcode() == websocket.OpClose {
			return true
		}
		p = p[n:]
	}
	return false
}

// answerSwitch writes the 101 and drops the deadline: from here the relay's timers watch.
func (x *exchange) answerSwitch(client net.Conn, fields http1.Fields) error {
	if err := client.SetDeadline(x.now().Add(switchTimeout)); err != nil {
		return err
	}
	if err := x.writeSwitch(client, fields); err != nil {
		return err
	}
	return client.SetDeadline(time.Time{})
}

// abandon ends a session whose client went while the endpoint was already there.
func (s *Server) abandon(x *exchange, ss *Session, up *upstreamConn, client net.Conn) {
	client.Close()
	mask := [4]byte{}
	_ = up.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = up.conn.Write(websocket.AppendClose(nil, &mask, websocket.GoingAway, "client gone"))
	up.conn.Close()
	x.service, x.slot, x.session = nil, nil, nil
	ss.endpoint.Load().Release()
	s.Sessions.remove(ss)
	x.record.Status, x.record.Cause, x.record.ClosedBy = statusClientGone, errClientGone.Error(), relay.Client.String()
	s.log(x)
}

// Done implements relay.Owner: the last thing that happens to a session, and its one line
// in the access log.
func (ss *Session) Done(_ *relay.Session, res *relay.Result) {
	ss.endpoint.Load().Release()
	ss.owner.Sessions.remove(ss)
	if ss.granted {
		ss.owner.licences.remove(ss)
	}
	if m := ss.moving; m != nil && m.leftBadly(res) {
		ss.owner.moverOf(ss.endpoint.Load().Service()).sentAway()
	}
	ss.places.tally.close(res, time.Since(ss.opening.Began()))
	if ss.owner.AccessLog.Off() {
		return
	}
	rec := records.Get().(*accesslog.Record)
	defer records.Put(rec)
	ss.unpackTo(rec)
	rec.Duration = time.Since(rec.Time)
	rec.BytesIn, rec.BytesOut = res.BytesIn, res.BytesOut
	rec.MessagesIn, rec.MessagesOut = res.MessagesIn, res.MessagesOut
	rec.CloseCode, rec.CloseReason = int(res.Code), res.Reason
	rec.ClosedBy, rec.Cause = res.By.String(), res.Cause
	rec.Moves, rec.Uncertain = res.Moves, res.Uncertain
	ss.owner.AccessLog.Log(rec)
}

// records are lent while their line is made.
var records = sync.Pool{New: func() any { return new(accesslog.Record) }}
