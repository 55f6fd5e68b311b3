package proxy

import (
	"context"
	"sync"

	"github.com/fairlead-gateway/fairlead/internal/http1"
)

// A leash ends the wait for a service when the client goes away: the wait is in one place, and what the client does
// is learnt in another. Its zero value holds nothing.
type leash struct {
	mu     sync.Mutex // guards the following
	err    error      // why nothing is to be waited for any more; nil: it may
	conn   *http1.ClientConn
	cancel context.CancelFunc
}

// end ends the wait that is under way, and those to come. Anybody may call it.
func (l *leash) end(error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = errClientGone
	if l.conn != nil {
		l.conn.Abort(errClientGone)
	}
	if l.cancel != nil {
		l.cancel()
	}
}

// hold has end reach those who wait on c. The error is why they must not begin.
func (l *leash) hold(c *http1.ClientConn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.cancel = c, nil
	return l.err
}

// holdDial has end call cancel. The error is why the dial must not begin.
func (l *leash) holdDial(cancel context.CancelFunc) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.cancel = nil, cancel
	return l.err
}

// letGo ends hold: end reaches nobody any more. The error is that of ended.
func (l *leash) letGo() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.cancel = nil, nil
	return l.err
}

// ended is errClientGone if the client has gone, else nil.
func (l *leash) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// reset makes it as new.
func (l *leash) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.conn, l.cancel = nil, nil, nil
}
