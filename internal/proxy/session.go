package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
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
// goes to refuse. When it returns nothing of the HTTP stack is left behind the session.
func (s *Server) startSession(w http.ResponseWriter, r *http.Request, x *exchange) {
	offer, err := websocket.CheckRequest(opening(r))
	if err != nil {
		s.refuse(w, r, x, failed(err, x.target, ""), nil)
		return
	}
	x.offer = offer
	id := uuid.New()
	x.record.SessionID = id.String()
	m, ok := x.table.Match(x.path)
	if !ok {
		s.refuse(w, r, x, s.unrouted(x), x.settings.unroutedPolicy)
		return
	}
	x.route(m)
	policy := m.Policy
	checked, err := s.admit(r, x, policy)
	if err != nil {
		s.refuse(w, r, x, failed(err, x.target, m.ServiceID), policy)
		return
	}
	ss := &Session{id: id, routeID: m.ID}
	if which := s.Sessions.add(ss, x.settings.limits.Sessions, policy.WebSocket.MaxSessions); which != "" {
		s.refused.Add(1)
		s.refuse(w, r, x, overLimit(which), policy)
		return
	}
	up, err := s.connect(r, x, m, ss, checked)
	if err != nil {
		s.Sessions.remove(ss)
		s.refuse(w, r, x, failed(err, x.target, m.ServiceID), policy)
		return
	}
	client, head, err := hijack(w)
	if err == nil {
		err = answer(client, offer.Key, switchHeader(up, x.record.RequestID))
	}
	if err != nil {
		s.abandon(x, ss, up, client)
		return
	}
	x.describe(ss, up.agreed.Protocol)
	ss.owner = s
	l, deflate := s.engine.Loop(), up.agreed.Deflate()
	clientSide := relay.Side{Stream: loop.Attach(l, client), Head: head, Deflate: deflate}
	upstreamSide := relay.Side{Stream: loop.Attach(l, up.conn), Head: up.head, Deflate: deflate}
	shared := s.relayPolicy(policy)
	s.started.Add(1)
	l.Post(func() { // on the loop, so that the session is listed before its first byte moves
		r := relay.Start(l, clientSide, upstreamSide, shared, ss)
		ss.relay.Store(r)
		if s.stopping.Load() { // the stop may have passed its list before this session was on it
			r.Close(websocket.GoingAway, shutdownReason, causeShutdown)
		}
	})
}

// admit decides whether the client may open the session: its Origin, then its credentials.
// checked tells that the gateway itself took the Authorization header.
func (s *Server) admit(r *http.Request, x *exchange, p *route.Policy) (checked bool, err error) {
	origins := r.Header["Origin"]
	if len(origins) > 1 || len(origins) == 1 && (origins[0] == "" || !p.AllowsOrigin(origins[0], x.origin.proto, x.origin.host)) {
		return false, &failure{
			status: http.StatusForbidden, cause: "origin refused", http: true,
			message: ErrorMessage("ZWEAT403E", "org.zowe.apiml.security.forbidden", "Invalid CORS request: the Origin is not allowed for this route"),
		}
	}
	return s.authenticate(r, x, p)
}

// maxAttempts bounds the endpoints tried for one session or request.
const maxAttempts = 3

// connect opens the session at an endpoint. One that cannot be reached is passed over for
// another: nothing has been sent by then. On success ss holds the endpoint's slot, which Done
// gives back.
func (s *Server) connect(r *http.Request, x *exchange, m route.Match, ss *Session, checked bool) (up *upstreamConn, err error) {
	header := handshakeHeader(x, m, r.Header, checked)
	var tried []*upstream.Endpoint
	for range maxAttempts {
		ep, none := m.Service.Take(m.Policy.Balance(true), tried...)
		if none != nil {
			return nil, cmp.Or(err, none)
		}
		ss.endpoint = ep
		x.record.Instance, x.record.Backend = ep.ID, ep.Address()
		if up, err = s.attempt(r.Context(), x, m, ss, header); err == nil {
			return up, nil
		}
		ep.Release()
		if r.Context().Err() != nil {
			return nil, errClientGone
		}
		if !unreached(err) {
			return nil, err
		}
		s.Log.Warn("endpoint not reached", "service", m.ServiceID, "instance", ep.ID, "err", err)
		tried = append(tried, ep)
	}
	return nil, err
}

// unreached tells whether a request failed before anything of it was sent.
func unreached(err error) bool {
	var e *upstream.DialError
	return errors.As(err, &e) && !overloaded(err)
}

// attempt shakes hands with the session's endpoint, within timeouts.handshake.
func (s *Server) attempt(ctx context.Context, x *exchange, m route.Match, ss *Session, header http.Header) (*upstreamConn, error) {
	p, ep := m.Policy, ss.endpoint
	ctx, cancel := context.WithTimeout(ctx, p.Timeouts.Effective().Handshake)
	defer cancel()
	host := ep.Address()
	if p.HostHeader == route.HostOfClient {
		host = x.origin.host
	}
	q := &handshakeRequest{target: m.Upstream() + x.query, host: host, key: websocket.NewKey(), offer: x.offer, header: header}
	up, err := openUpstream(ctx, x.settings.dialer(p), ep, q)
	if err != nil {
		return nil, err
	}
	scheme := "ws"
	if ep.Scheme == "https" {
		scheme = "wss"
	}
	x.serviceURL = scheme + "://" + ep.Address() + accesslog.RedactTarget(q.target)
	return up, nil
}

func overLimit(which string) *failure {
	return &failure{
		status: http.StatusServiceUnavailable, cause: "limit reached: " + which,
		message: ErrorMessage("ZWEAO503E", "org.zowe.apiml.common.serviceUnavailable", "The server is not ready to handle the request: %s", "too many "+which),
		header:  http.Header{"Retry-After": {"5"}},
		code:    websocket.TryAgain, reason: "Too many " + which + ", try again later",
	}
}

// refuse answers a handshake that becomes no session: with a status, or under
// connectFailure "close" with a 101 and a Close that says why, since a browser shows its
// page neither status nor body. p is nil where only a status is possible.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, x *exchange, f *failure, p *route.Policy) {
	x.record.Cause = f.cause
	if f.answer != nil {
		defer f.answer.Body.Close()
	}
	if f.http || p == nil || p.WebSocket.ConnectFailure != route.CloseOnFailure || errors.Is(f, errClientGone) {
		s.refuseStatus(w, x, f)
		return
	}
	client, _, err := hijack(w)
	if err != nil {
		s.refuseStatus(w, x, f)
		return
	}
	defer client.Close()
	h := http.Header{"X-Request-Id": {x.record.RequestID}}
	// A browser fails a 101 that lacks the subprotocol it asked for, and would then not see the Close.
	if len(x.offer.Protocols) > 0 {
		h["Sec-WebSocket-Protocol"] = x.offer.Protocols[:1]
		x.record.Subprotocol = x.offer.Protocols[0]
	}
	reason := websocket.Reason(f.reason)
	x.record.Status, x.record.Websocket = http.StatusSwitchingProtocols, true
	x.record.CloseCode, x.record.CloseReason, x.record.ClosedBy = int(f.code), reason, relay.Gateway.String()
	_ = client.SetDeadline(time.Now().Add(switchTimeout))
	if writeSwitch(client, x.offer.Key, h) == nil {
		if _, err := client.Write(websocket.AppendClose(nil, nil, f.code, reason)); err == nil {
			awaitClose(client, p.Limits().CloseTimeout)
		}
	}
	s.log(x)
}

func (s *Server) refuseStatus(w http.ResponseWriter, x *exchange, f *failure) {
	h := w.Header()
	h.Set("X-Request-Id", x.record.RequestID)
	maps.Copy(h, f.header)
	// What the client sent behind its handshake is no request (RFC 9931): the connection ends.
	// It comes first: net/http looks at no other value.
	h["Connection"] = append([]string{"close"}, f.header["Connection"]...)
	x.record.Status = f.status
	if f.answer == nil {
		f.message.WriteJSON(w, f.status)
		s.log(x)
		return
	}
	removeHopByHop(f.answer.Header)
	maps.Copy(h, f.answer.Header)
	h["Connection"], h["X-Request-Id"] = []string{"close"}, []string{x.record.RequestID}
	w.WriteHeader(f.status)
	n, _ := io.Copy(w, f.answer.Body)
	x.record.BytesOut = n
	s.log(x)
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

// hijack takes the connection out of net/http, with the bytes read from it too far.
func hijack(w http.ResponseWriter) (net.Conn, []byte, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	var head []byte
	if n := rw.Reader.Buffered(); n > 0 {
		head = make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, head) // buffered bytes: cannot fail
	}
	return conn, head, conn.SetDeadline(time.Time{})
}

// answer writes the 101 and drops the deadline: from here the relay's timers watch.
func answer(client net.Conn, key string, h http.Header) error {
	if err := client.SetDeadline(time.Now().Add(switchTimeout)); err != nil {
		return err
	}
	if err := writeSwitch(client, key, h); err != nil {
		return err
	}
	return client.SetDeadline(time.Time{})
}

// abandon ends a session whose client went while the endpoint was already there.
func (s *Server) abandon(x *exchange, ss *Session, up *upstreamConn, client net.Conn) {
	if client != nil {
		client.Close()
	}
	mask := [4]byte{}
	_ = up.conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = up.conn.Write(websocket.AppendClose(nil, &mask, websocket.GoingAway, "client gone"))
	up.conn.Close()
	ss.endpoint.Release()
	s.Sessions.remove(ss)
	x.record.Status, x.record.Cause, x.record.ClosedBy = statusClientGone, errClientGone.Error(), relay.Client.String()
	s.log(x)
}

// Lost implements relay.Owner: what the client is told when its endpoint is gone.
func (ss *Session) Lost(*relay.Session, string) relay.Verdict {
	if ss.endpoint.Leaving() {
		return relay.Verdict{Code: websocket.ServiceRestart, Reason: "The service instance is going away"}
	}
	return relay.Verdict{Code: websocket.Internal, Reason: "Connection to the service was lost"}
}

// Done implements relay.Owner: the last thing that happens to a session, and its one line
// in the access log.
func (ss *Session) Done(_ *relay.Session, res *relay.Result) {
	ss.endpoint.Release()
	ss.owner.Sessions.remove(ss)
	rec, _ := ss.opening.Unpack()
	rec.Duration = time.Since(rec.Time)
	rec.BytesIn, rec.BytesOut = res.BytesIn, res.BytesOut
	rec.MessagesIn, rec.MessagesOut = res.MessagesIn, res.MessagesOut
	rec.CloseCode, rec.CloseReason = int(res.Code), res.Reason
	rec.ClosedBy, rec.Cause = res.By.String(), res.Cause
	ss.owner.AccessLog.Log(rec)
}
