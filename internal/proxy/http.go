package proxy

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Bounds of a plain request.
const (
	stallTimeout    = 60 * time.Second // one wait for a client that sends its body or takes its answer
	continueTimeout = time.Second      // for a service's 100 (Continue); then the body is sent without it
	maxInforming    = 100              // 1xx answers before the final one
	maxCopied       = 8 << 10          // bytes of an answer that are copied so that its connection is free before it leaves
)

// A call is one HTTP request on its way to an endpoint.
type call struct {
	x        *exchange
	forwards forwards
	endpoint *upstream.Endpoint
	response time.Duration // timeouts.response; 0: no bound
	last     time.Time     // the end of timeouts.request; zero: none
	until    time.Time     // that, or the end of timeouts.backendRequest for the attempt; zero: none

	tried   []*upstream.Endpoint // that have failed
	retries int                  // that a rule has asked for
	spent   bool                 // the budget of the service lets it not be tried again

	conn   *http1.ClientConn // of the attempt that is under way
	key    poolKey           // of conn
	pooled bool              // conn has served before
	stream *stream           // instead of conn, over HTTP/2
	upload *http1.Upload     // nil: the body has gone with the head, or has not begun
	fresh  bool              // the request is being repeated: no pooled connection any more
	answer http1.Response
	reply  http1.Answer // made of answer
}

// A poolKey says which idle connections are alike. Those of a loop stay in it.
type poolKey struct {
	loop     *loop.Loop // nil: of goroutines
	endpoint *upstream.Endpoint
	tls      *upstream.TLSSettings // by which the endpoint was verified
}

// serveHTTP serves what is no WebSocket handshake: REST, pages, streams of events.
func (s *Server) serveHTTP(x *exchange) {
	defer s.logHTTP(x)
	m, ok := s.match(x)
	if !ok {
		s.fail(x, s.unroutedHTTP(x))
		return
	}
	x.route(&m)
	if s.checkCORS(x, &m) {
		return
	}
	if f := x.pathRefused(); f != nil {
		s.fail(x, f)
		return
	}
	if location, ok := slashRedirect(x, &m); ok {
		s.redirect(x, http.StatusFound, location)
		return
	}
	err := s.authenticate(x, m.Policy)
	if err == nil {
		err = x.filter(m.Filters)
	}
	if err != nil {
		s.fail(x, failed(err, x.target, m.ServiceID))
		return
	}
	s.request(x)
}

// request has the service of the exchange's target answer.
func (s *Server) request(x *exchange) {
	x.aim()
	x.call = call{x: x, response: x.to.policy.Timeouts.Effective().Response, answer: http1.Response{Fields: x.call.answer.Fields[:0]}}
	c := &x.call
	c.forwards = forwards{
		prefix: x.to.prefix(), trailers: x.request.Body.Kind == http1.Chunked, edits: x.to.edits, stay: x.to.stay.rule,
	}
	var err error
	if c.endpoint = x.to.stay.endpoint; c.endpoint == nil {
		c.endpoint, err = x.to.pick()
	}
	if err == nil {
		err = s.forward(c)
	}
	if err != nil {
		s.fail(x, failed(err, x.target, x.to.name))
		return
	}
	s.relayAnswer(c)
}

// logHTTP ends a plain request.
func (s *Server) logHTTP(x *exchange) {
	x.Unwatch()
	x.record.BytesIn, x.record.BytesOut = x.body.Count(), x.Sent()
	if x.record.Status == statusClientGone {
		if s.stopping.Load() {
			x.record.Cause = causeShutdown // the gateway's patience ended, not the client's
		}
		s.countReset(x.conn)
	}
	s.log(x)
}

// fail answers a request that reaches no service. It logs nothing.
func (s *Server) fail(x *exchange, f *failure) {
	x.record.Cause, x.record.Status = f.cause, f.status
	if f.status == statusClientGone { // nobody is there to read an answer
		return
	}
	fields := append(http1.Fields{{Name: "X-Request-Id", Value: x.record.RequestID}}, f.fields...)
	var kind string
	var body []byte
	switch {
	case x.speaksGRPC() && f.status >= 400:
		kind, x.record.Status = "application/grpc", http.StatusOK
		fields = append(fields, f.grpcFields()...)
	case f.bare:
		body = f.content
	case x.ofGateway():
		kind, body = "application/problem+json", f.problem()
	case f.text != "":
		kind, body = "text/plain", []byte(f.text)
	default:
		kind, body = "application/json", f.message.document()
	}
	if kind != "" {
		fields.Add("Content-Type", kind)
		fields.Add("X-Content-Type-Options", "nosniff")
	}
	fields = x.corsFields(fields)
	_ = x.Reply(&http1.Answer{Status: x.record.Status, Fields: fields}, body) // the client is gone if this fails
}

func (s *Server) redirect(x *exchange, status int, location string) {
	x.record.Status = status
	fields := http1.Fields{{Name: "X-Request-Id", Value: x.record.RequestID}, {Name: "Location", Value: location}}
	_ = x.Reply(&http1.Answer{Status: status, Fields: fields}, nil) // the client is gone if this fails
}

// slashRedirect sends /svc/ui/v1 to /svc/ui/v1/, so that a page's relative links work
// (zowe.md, section 5.1).
func slashRedirect(x *exchange, m *route.Match) (string, bool) {
	if m.Rest != "" || (x.request.Method != http.MethodGet && x.request.Method != http.MethodHead) {
		return "", false
	}
	if m.GatewayURL != "ui" && !strings.HasPrefix(m.GatewayURL, "ui/") {
		return "", false
	}
	return m.Prefix + "/" + x.query, true
}

// forward sends the request to an endpoint and waits for the head of its answer. An endpoint that cannot be reached is
// passed over for another: nothing of the request has been sent by then; so are one that is unavailable, and one that dies under a
// GET. A connection from the pool that proves dead is replaced once, if the request may be repeated.
func (s *Server) forward(c *call) error {
	x := c.x
	timeouts := x.to.policy.Timeouts.Effective()
	if timeouts.Request > 0 {
		c.last = x.record.Time.Add(timeouts.Request)
	}
	mirrored := x.to.backend != nil && x.to.mirrored()
	if x.to.Retry != nil || mirrored || x.to.backend == nil && x.to.policy.Retries.Methods == route.RetryAll {
		if err := x.keep(maxKeptBody); err != nil {
			return err
		}
	}
	if mirrored {
		s.mirror(c)
	}
	if x.to.Retry != nil && x.to.backend != nil {
		s.budgets.count(x.to.service.Name, x.to.backend.Budget)
	}
	x.hold()
	x.Watch(x.run, x.gone)
	for passed := 1; ; {
		c.until = c.last
		if t := time.Now().Add(timeouts.BackendRequest); timeouts.BackendRequest > 0 && (c.last.IsZero() || t.Before(c.last)) {
			c.until = t
		}
		began := stopwatch(c.endpoint)
		err := s.attemptHTTP(c)
		if x.leash.ended() == nil && (err == nil || !c.mayRepeat(err)) {
			c.note(began, err)
		}
		switch {
		case err == nil && x.to.Retry == nil && !c.unavailable():
			return nil
		case x.leash.ended() != nil:
			return errClientGone
		case err != nil && c.mayRepeat(err):
			c.fresh = true
			continue
		}
		c.tried = append(c.tried, c.endpoint)
		switch {
		case passed < maxAttempts && (c.unanswered(err) && c.passOver(false) || err == nil && c.unavailable() && c.passOver(true)):
			passed++
			if err == nil {
				c.discard()
				err = errUnavailable
			}
			s.Log.Warn("endpoint failed, another is tried", "service", x.to.name, "instance", c.tried[len(c.tried)-1].ID, "err", err)
		case s.retry(c, err):
		case x.leash.ended() != nil:
			return errClientGone
		case c.spent:
			if err == nil {
				c.discard()
			}
			return noMoreRetries()
		case err == nil || unreached(err):
			return err
		default:
			return c.why(err)
		}
	}
}

// passOver chooses an endpoint that has not failed, if there is one. Around: else one that has.
func (c *call) passOver(around bool) bool {
	next, none := c.x.to.pick(c.tried...)
	if none != nil && around {
		c.tried = c.tried[len(c.tried)-1:] // what has just failed may come last
		if next, none = c.x.to.pick(c.tried...); none != nil {
			next, none = c.x.to.pick()
		}
	}
	if none == nil {
		c.endpoint, c.fresh = next, false
	}
	return none == nil
}

// attemptHTTP sends the request to the call's endpoint and waits for the final head. On error its connection is closed.
func (s *Server) attemptHTTP(c *call) error {
	x := c.x
	x.record.Instance, x.record.Backend = c.endpoint.ID, c.endpoint.Address()
	if speaksHTTP2(x.to.service) {
		return c.attemptHTTP2()
	}
	if err := c.connect(); err != nil {
		return err
	}
	err := x.leash.hold(c.conn)
	if err == nil {
		err = c.send()
	}
	if err == nil {
		err = c.await()
	}
	if err != nil {
		c.drop()
	}
	return err
}

// connect takes a connection from the pool, or dials.
func (c *call) connect() error {
	x := c.x
	c.key = poolKey{x.run.Loop(), c.endpoint, c.endpoint.TLS()} // before the dial: whatever rules that meets are these or newer
	if !c.fresh {
		if c.conn = x.settings.pool.Get(c.key); c.conn != nil {
			x.service = c.conn.Conn()
			c.pooled = true
			c.conn.SetLimit(c.until)
			return nil
		}
	}
	deadline := time.Now().Add(x.to.policy.Timeouts.Effective().Handshake)
	if !c.until.IsZero() && c.until.Before(deadline) {
		deadline = c.until
	}
	conn, err := x.dial(x.to.policy, c.endpoint, deadline)
	if err != nil {
		return err
	}
	c.conn, c.pooled = http1.NewClientConn(conn), false
	c.conn.WriteTimeout = stallTimeout
	c.conn.SetLimit(c.until)
	return nil
}

// send sends the head, with it the body if it is here whole, and begins to send any other body, unless
// the client waits to be told to send it.
func (c *call) send() error {
	x := c.x
	x.head = c.appendHead(x.head[:0])
	if err := c.conn.Send(x.head, x.first(), !x.kept.whole); err != nil {
		return err
	}
	if !x.kept.whole && !c.asks() {
		c.sendBody()
	}
	return nil
}

// asks tells whether the client sends its body when it is told to.
func (c *call) asks() bool { return c.x.request.Expect && !c.x.kept.begun }

// sendBody begins to send what has not left with the head.
func (c *call) sendBody() {
	c.upload = c.conn.Upload(c.x.run, c.x.body, c.x.request.Body)
}

// appendHead appends the head of the request as it goes to the endpoint.
func (c *call) appendHead(b []byte) []byte {
	x := c.x
	first, rest := x.to.path()
	b = http1.AppendRequestLine(b, x.request.Method, first, rest, x.query)
	b = http1.AppendField(b, "Host", x.hostFor(c.endpoint))
	b = x.appendFields(b, &c.forwards)
	switch f := x.framing(); f.Kind {
	case http1.Length:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), f.Length, 10), "\r\n"...)
	case http1.Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}

// await reads the heads of the answer until the final one.
func (c *call) await() error {
	x := c.x
	asked := !x.kept.whole && c.asks() // the body waits for a 100
	for range maxInforming {
		wait := c.response
		if asked && (wait == 0 || wait > continueTimeout) {
			wait = continueTimeout
		}
		err := c.conn.ReadResponse(x.request.Method, &c.answer, wait)
		late := asked && errors.Is(err, os.ErrDeadlineExceeded) && !c.conn.SawBytes() && !c.late()
		switch {
		case late || err == nil && c.answer.Status == http.StatusContinue:
			if asked {
				asked = false
				if err := x.Interim(http.StatusContinue, nil); err != nil {
					return errClientGone
				}
				c.sendBody()
			}
		case err != nil:
			return err
		case c.answer.Status == http.StatusSwitchingProtocols:
			return errors.New("service answered 101 to a request that asked for no upgrade")
		case c.answer.Status >= 200:
			return nil
		default:
			fields := x.answerFields(c.answer.Fields)
			if err := x.Interim(c.answer.Status, fields[:len(fields)-1]); err != nil { // the request id goes with the final answer
				return errClientGone
			}
		}
	}
	return errors.New("answer: too many interim answers")
}

// late tells whether the time for the whole request has passed.
func (c *call) late() bool { return !c.until.IsZero() && !time.Now().Before(c.until) }

// drop ends an attempt that has failed.
func (c *call) drop() {
	if c.upload != nil {
		_ = c.upload.Stop(c.x.run)
		c.upload = nil
	}
	_ = c.x.leash.letGo()
	c.close()
}

// close ends the connection, or the stream, that the call is on, if it is on one.
func (c *call) close() {
	switch {
	case c.stream != nil:
		c.stream.end()
		c.stream = nil
	case c.conn != nil:
		_ = c.conn.Close()
	}
}

// An answerBody is the body of a service's answer.
type answerBody interface {
	http1.Source

	// Whole returns all of it if it has come already; it never waits.
	Whole() (content []byte, ok bool)

	// Ready tells whether Next would return something without a wait for the service.
	Ready() bool
}

func (c *call) body() answerBody {
	if c.stream != nil {
		return c.stream
	}
	return c.conn.Body()
}

// mayRepeat tells whether err means no more than that a pooled connection was dead, and the request may be sent
// once more (RFC 9110, section 9.2.2): its method is idempotent, and nothing of its body has been lost.
func (c *call) mayRepeat(err error) bool {
	if c.fresh || !c.pooled || !c.x.kept.whole || unreached(err) || !idempotent(c.x.request.Method) {
		return false
	}
	if speaksHTTP2(c.x.to.service) {
		return isLost(err)
	}
	return c.conn.Repeatable(err)
}

// why is what an attempt's error is for the client.
func (c *call) why(err error) error {
	var unread *http1.SourceError
	switch {
	case c.late():
		return errResponse
	case errors.As(err, &unread):
		return unreadable(unread.Err)
	}
	return err
}
