package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// The handshake by which another endpoint takes a session over: the first one again, and an answer that has to be as the first.

// attempt shakes hands with ep for the session. A *refusal ends the search, any other error passes ep over.
func (q *search) attempt(r loop.Runner, ep *upstream.Endpoint) (*relay.Side, error) {
	p, s := q.ss.policy, q.mover.s
	deadline := earlier(time.Now().Add(p.attempt), q.share(ep))
	d := dialing{r, &q.leash, s.settings.Load().upstream, p.connect}
	conn, err := d.dial(ep, deadline)
	if err != nil {
		return nil, err
	}
	c := http1.NewClientConn(conn)
	c.SetLimit(deadline)
	side, err := q.shake(c, ep)
	if gone := q.leash.letGo(); gone != nil && err == nil {
		err = gone
		side.Stream.Abort()
		return nil, err
	}
	if err != nil {
		_ = c.Close()
	}
	return side, err
}

// shake says what the first handshake said, and wants what it was answered.
func (q *search) shake(c *http1.ClientConn, ep *upstream.Endpoint) (*relay.Side, error) {
	if err := q.leash.hold(c); err != nil {
		return nil, err
	}
	var rec accesslog.Record
	var st relay.Stats
	q.ss.unpackTo(&rec)
	q.relay.Stats(&st)
	key := websocket.NewKey()
	head, extensions := q.ss.head.append(nil, &rec, &resumption{host: ep.Address(), key: key, resumed: st.Moves + 1})
	if err := c.Send(head, nil, false); err != nil {
		return nil, err
	}
	var resp http1.Response
	for range maxInterim {
		if err := c.ReadResponse(http.MethodGet, &resp, 0); err != nil {
			return nil, err
		}
		if resp.Status < 200 && resp.Status != http.StatusSwitchingProtocols {
			continue
		}
		was := websocket.Agreed{Protocol: rec.Subprotocol, Extensions: extensions}
		if err := judge(&resp, key, &was); err != nil {
			return nil, err
		}
		conn, early := c.TakeOver()
		return &relay.Side{Stream: loop.Attach(q.relay.Loop(), conn), Head: early, Deflate: was.Deflate()}, nil
	}
	return nil, errInterim
}

// judge says what the final answer of an endpoint to a session's second handshake means.
func judge(resp *http1.Response, key string, was *websocket.Agreed) error {
	status := strconv.Itoa(resp.Status) + " " + http.StatusText(resp.Status)
	switch {
	case resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden:
		return &refusal{Code: websocket.Policy, Reason: "The service refused the session at another instance: " + status}
	case resp.Status >= 500:
		return errors.New("service answered " + status)
	case resp.Status != http.StatusSwitchingProtocols:
		return &refusal{Code: websocket.ServiceRestart, Reason: "Another instance of the service does not take the session over: " + status}
	}
	if err := plainSwitch(resp); err != nil {
		return err
	}
	offered := websocket.Offered{}
	if was.Protocol != "" {
		offered.Protocols = []string{was.Protocol}
	}
	if was.Extensions != "" {
		offered.Deflate = []string{was.Extensions}
	}
	now, err := websocket.CheckResponse(resp.Status, &resp.Fields, key, offered)
	if err != nil {
		return err
	}
	if why := was.Continues(now); why != "" {
		return &refusal{Code: websocket.ServiceRestart, Reason: "Another instance of the service agrees on " + why}
	}
	return nil
}

// A refusal is an endpoint's word that the session is not to be taken over, there or anywhere.
type refusal relay.Verdict

func (r *refusal) Error() string { return r.Reason }
