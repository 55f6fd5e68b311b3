package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// What clients' requests and handshakes tell of endpoints (upstream.Outliers).

// stopwatch is when an endpoint was asked, if it matters how long it takes; zero: it does not.
func stopwatch(ep *upstream.Endpoint) (began time.Time) {
	if ep.Timed() {
		began = time.Now()
	}
	return began
}

// well notes that ep, asked at began, has answered as it should; began zero: when does not matter.
func well(ep *upstream.Endpoint, began time.Time) {
	var took time.Duration
	if !began.IsZero() {
		took = time.Since(began)
	}
	ep.Succeeded(took)
}

var errNoPong = errors.New("websocket: " + relay.CausePong)

// noteHandshake notes how a handshake with ep ended. An answer that refuses it is judged as one to a request: of a 500 a client alone may
// be the cause.
func noteHandshake(ep *upstream.Endpoint, began time.Time, err error) {
	var answered *answerError
	switch {
	case err == nil:
		well(ep, began)
	case errors.As(err, &answered) && answered.head != nil:
		noteStatus(ep, answered.head.Status, began, true)
	case faulty(err):
		ep.Failed(err)
	}
}

// noteMove notes how an attempt to move a session to ep ended. What refuses the session has answered.
func noteMove(ep *upstream.Endpoint, took time.Duration, err error) {
	var refused *refusal
	var late net.Error
	switch {
	case errors.As(err, &refused):
		err = nil
	case errors.As(err, &late) && late.Timeout() && took < slowAnswer: // of the time for all attempts there was little left
		return
	}
	noteHandshake(ep, time.Time{}, err)
}

// faulty tells whether an attempt failed by the fault of the endpoint: not the client's, and not the gateway's own.
func faulty(err error) bool {
	return !overloaded(err) && !isSource(err) && !errors.Is(err, errClientGone) && !errors.Is(err, context.Canceled)
}

// note notes how an attempt of a request ended. err is that of the attempt; nil: it has an answer.
func (c *call) note(began time.Time, err error) {
	switch {
	case err == nil:
		noteStatus(c.endpoint, c.answer.Status, began, c.x.kept.whole)
	case c.late() && (len(c.tried) > 0 || !c.x.kept.whole): // others have used the time up
	case faulty(err):
		c.endpoint.Failed(err)
	}
}

// noteStatus notes an answer. With timed false the time says nothing: the client took a part of it.
func noteStatus(ep *upstream.Endpoint, status int, began time.Time, timed bool) {
	switch {
	case status >= http.StatusBadGateway && status <= http.StatusGatewayTimeout:
		ep.Failed(errors.New("status " + strconv.Itoa(status)))
	case timed:
		well(ep, began)
	default:
		ep.Succeeded(0)
	}
}
