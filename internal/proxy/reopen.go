package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

const (
	// maxAttempts bounds the endpoints tried for one request: as many as Zowe tries (zowe.md, section 5.3).
	maxAttempts = 6
	// maxOpenings bounds the endpoints tried for one session.
	maxOpenings = 3
)

// mayReopen tells whether a handshake that ended in err may be made anew at another endpoint: nobody was reached, the connection
// broke, the time for the attempt ran out, or the service answered 503. A handshake is a GET, so that it does no harm if the
// service has acted on it.
func mayReopen(err error) bool {
	var answered *answerError
	switch {
	case overloaded(err) || errors.Is(err, errClientGone):
		return false
	case errors.As(err, &answered):
		return answered.head != nil && answered.head.Status == http.StatusServiceUnavailable
	}
	return unreached(err) || errors.Is(err, os.ErrDeadlineExceeded) || broken(err)
}

// broken tells that a connection ended before its answer was whole.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// another takes the next endpoint for a session after err at the last of tried; nil: err is what the client is told. The answer
// that err may be is dropped only when there is somewhere else to go.
func (x *exchange) another(tried []*upstream.Endpoint, err error) *upstream.Endpoint {
	if len(tried) == maxOpenings || !mayReopen(err) {
		return nil
	}
	if x.spent() {
		return nil
	}
	next, none := x.to.take(tried)
	if none != nil {
		return nil
	}
	var answered *answerError
	if errors.As(err, &answered) {
		_ = answered.conn.Close()
	}
	return next
}

// spent tells that timeouts.request is over.
func (x *exchange) spent() bool {
	t := x.to.policy.Timeouts.Effective().Request
	return t > 0 && time.Since(x.record.Time) >= t
}

var errUnavailable = errors.New("the service answered 503")

// unavailable tells whether the service's answer is one that has Zowe ask its next instance: 503 to what it repeats.
func (c *call) unavailable() bool {
	return c.answer.Status == http.StatusServiceUnavailable && c.repeats()
}

// unanswered tells whether err has another endpoint be asked: nobody was reached, or the connection broke under what Zowe repeats.
func (c *call) unanswered(err error) bool {
	return unreached(err) || broken(err) && !isSource(err) && c.repeats()
}

// repeats tells whether Zowe sends the request once more though an instance may have acted on it: a GET, or any where the service says so
// (zowe.md, section 5.3). A rule of a Gateway, and a policy that says more of retries, say themselves what is repeated; see retry.
func (c *call) repeats() bool {
	x := c.x
	return x.to.backend == nil && x.to.Retry == nil && (x.request.Method == http.MethodGet || x.to.policy.Retries.Methods == route.RetryAll) &&
		x.kept.whole && (c.last.IsZero() || time.Now().Before(c.last))
}
