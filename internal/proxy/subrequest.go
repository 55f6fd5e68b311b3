package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A subrequest is a request of the gateway's own to a service: a mirrored one, or one that asks whether another may pass. It
// is small, has its whole body with it, and is sent from a goroutine.
type subrequest struct {
	settings *Settings
	policy   *route.Policy // its connect and handshake timeouts hold
	service  *upstream.Service
	method   string
	target   string // path and query, as they go on the wire
	host     string // "": the endpoint's own
	fields   []byte // lines, as appendFields makes them
	body     []byte
	trailers http1.Fields // behind body; nil: body has a Content-Length
	most     int          // bytes of the answer's body that are wanted
	sized    bool         // it says its Content-Length if that is 0, too, where HTTP/1.1 is spoken
	h2       bool         // over HTTP/2 whatever the service says
}

// A subanswer is what came of a subrequest.
type subanswer struct {
	status   int
	fields   http1.Fields
	body     []byte // no more than was wanted
	cut      bool   // there is more of it
	trailers http1.Fields
}

// subAttempts bounds the endpoints that a subrequest tries to reach.
const subAttempts = 3

// do sends it, and waits for the answer until ctx ends. An endpoint that cannot be reached is passed over for another.
func (q *subrequest) do(ctx context.Context) (a *subanswer, err error) {
	var tried []*upstream.Endpoint
	for range subAttempts {
		ep, none := q.service.Pick(q.policy.Choice(false), tried...)
		if none != nil {
			if err == nil {
				err = none
			}
			return nil, err
		}
		if q.h2 || speaksHTTP2(q.service) {
			a, err = q.over2(ctx, ep)
		} else {
			a, err = q.over1(ctx, ep)
		}
		switch {
		case err == nil:
			noteStatus(ep, a.status, time.Time{}, false)
			return a, nil
		case ctx.Err() == nil && faulty(err):
			ep.Failed(err)
		}
		if !unreached(err) {
			return a, err
		}
		tried = append(tried, ep)
	}
	return nil, err
}

func (q *subrequest) hostFor(ep *upstream.Endpoint) string {
	if q.host != "" {
		return q.host
	}
	return ep.Address()
}

// over1 sends it over HTTP/1.1. A connection from the pool that proves dead is replaced once.
func (q *subrequest) over1(ctx context.Context, ep *upstream.Endpoint) (*subanswer, error) {
	key := poolKey{nil, ep, ep.TLS()}
	if c := q.settings.pool.Get(key); c != nil {
		a, err := q.on(ctx, c, key, ep)
		if err == nil || !c.Repeatable(err) || ctx.Err() != nil {
			return a, err
		}
	}
	dial, cancel := context.WithTimeout(ctx, q.policy.Timeouts.Effective().Handshake)
	defer cancel()
	conn, err := q.settings.dialer(q.policy).Dial(dial, ep)
	if err != nil {
		return nil, err
	}
	return q.on(ctx, http1.NewClientConn(conn), key, ep)
}

// on sends it on c, which goes back to the pool, or is closed.
func (q *subrequest) on(ctx context.Context, c *http1.ClientConn, key poolKey, ep *upstream.Endpoint) (*subanswer, error) {
	if until, ok := ctx.Deadline(); ok {
		c.SetLimit(until)
	}
	stop := context.AfterFunc(ctx, func() { c.Abort(context.Cause(ctx)) })
	a, err := q.exchange(c, ep)
	if !stop() || err != nil {
		_ = c.Close()
		if cause := context.Cause(ctx); cause != nil && err != nil {
			err = cause
		}
		return a, err
	}
	q.settings.pool.Put(key, c)
	return a, nil
}

func (q *subrequest) exchange(c *http1.ClientConn, ep *upstream.Endpoint) (*subanswer, error) {
	b := http1.AppendRequestLine(make([]byte, 0, 1024), q.method, q.target)
	b = http1.AppendField(b, "Host", q.hostFor(ep))
	b = append(b, q.fields...)
	body := q.body
	switch {
	case len(q.trailers) > 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		body = appendChunked(nil, body, q.trailers)
	case q.sized || len(body) > 0 || q.method != http.MethodGet && q.method != http.MethodHead:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(body))
	}
	b = append(b, "\r\n"...)
	if err := c.Send(b, body, false); err != nil {
		return nil, err
	}
	var r http1.Response
	for range maxInforming {
		if err := c.ReadResponse(q.method, &r, 0); err != nil {
			return nil, err
		}
		if r.Status >= 200 {
			a := &subanswer{status: r.Status, fields: r.Fields}
			return a, a.read(c.Body(), q.most)
		}
		if r.Status == http.StatusSwitchingProtocols {
			break
		}
	}
	return nil, errors.New("no final answer")
}

// read reads as much of the body as is wanted.
func (a *subanswer) read(body http1.Source, most int) error {
	for {
		p, err := body.Next()
		switch {
		case errors.Is(err, io.EOF):
			a.trailers = body.Trailers()
			return nil
		case err != nil:
			return err
		}
		if len(p) > most-len(a.body) {
			a.body, a.cut = append(a.body, p[:most-len(a.body)]...), true
			return nil // the rest goes with the connection
		}
		a.body = append(a.body, p...)
	}
}

// over2 sends it over HTTP/2.
func (q *subrequest) over2(ctx context.Context, ep *upstream.Endpoint) (*subanswer, error) {
	host := q.hostFor(ep)
	r := &http.Request{
		Method: q.method, Host: host, Header: headerOf(q.fields), Body: http.NoBody,
		URL: &url.URL{Scheme: ep.Scheme, Host: ep.Address(), Opaque: string(http1.AppendTarget([]byte("//"+host), q.target))},
	}
	if len(q.body)+len(q.trailers) > 0 {
		r.ContentLength = int64(len(q.body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.body)), nil }
		r.Body, _ = r.GetBody()
	}
	if len(q.trailers) > 0 {
		r.ContentLength, r.Trailer = -1, headerFields(q.trailers)
	}
	d := &h2Dial{key: h2Key{ep, ep.TLS()}, dial: q.settings.dial2(q.policy, ep)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := q.settings.h2.RoundTrip(r.WithContext(context.WithValue(ctx, h2DialKey{}, d)))
	if err != nil {
		return nil, err
	}
	st := &stream{run: loop.Goroutines, ctx: ctx, resp: resp}
	defer st.free()
	a := &subanswer{status: resp.StatusCode, fields: fieldsOf(resp.Header)}
	return a, a.read(st, q.most)
}

func headerFields(fields http1.Fields) http.Header {
	h := make(http.Header)
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

// appendChunked appends a whole chunked body.
func appendChunked(b, content []byte, trailers http1.Fields) []byte {
	if len(content) > 0 {
		b = append(append(http1.AppendChunkHead(b, int64(len(content))), content...), http1.ChunkEnd...)
	}
	return http1.AppendLastChunk(b, trailers)
}
