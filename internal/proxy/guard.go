package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// hopHeader names the gateways that a request has passed. Each has an id of its own for as
// long as it runs: one that finds its own is looking at a loop.
const hopHeader = "Fairlead-Hop"

// maxHops bounds the gateways in a row; a longer chain is taken for a loop too.
const maxHops = 8

func newHopID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// hops reads the gateways before this one. What is no list of ids is a client's invention
// and counts for nothing.
func hops(h http.Header) []string {
	line := strings.Join(h[hopHeader], ",")
	if line == "" || len(line) > 16*4*maxHops {
		return nil
	}
	ids := strings.Split(strings.ReplaceAll(line, " ", ""), ",")
	for _, id := range ids {
		if len(id) != 16 || strings.Trim(id, "0123456789abcdef") != "" {
			return nil
		}
	}
	return ids
}

// looped says that the request has come back to this gateway, by a registration or a route
// that leads to its own address, or has passed too many.
func (s *Server) looped(x *exchange) *failure {
	for _, id := range x.hops {
		if id == s.hopID {
			return &failure{
				status: http.StatusLoopDetected, cause: "loop: the request came back to this gateway", http: true,
				message: ErrorMessage("ZWEAO508E", "org.zowe.apiml.common.loopDetected", "The route of '%s' leads back to the gateway", x.target),
			}
		}
	}
	if len(x.hops) >= maxHops {
		return &failure{
			status: http.StatusLoopDetected, cause: "loop: too many gateways in a row", http: true,
			message: ErrorMessage("ZWEAO508E", "org.zowe.apiml.common.loopDetected", "The request for '%s' has passed too many gateways", x.target),
		}
	}
	return nil
}

// setHops adds this gateway to those that the request has passed.
func (x *exchange) setHops(h http.Header) {
	h[hopHeader] = []string{strings.Join(append(x.hops[:len(x.hops):len(x.hops)], x.hopID), ", ")}
}

// unreadTimeout bounds, over HTTP/1, how long net/http may go on reading the body of a
// request that was answered without it.
const unreadTimeout = 5 * time.Second

// boundBody sees to it that a body that nobody reads holds its connection for a bounded
// time only; countedBody moves the deadline while it is read. Over HTTP/2 nothing waits for it.
func (s *Server) boundBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.unread))
	}
}

// overloaded tells that the gateway itself has run out of descriptors or memory for one
// more connection: no fault of the endpoint's.
func overloaded(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS)
}

// clientConn is what is counted of one client connection.
type clientConn struct {
	conn     net.Conn
	requests atomic.Int64
	resets   atomic.Int64 // requests that the client took back before they were answered
	cut      atomic.Bool
}

type clientConnKey struct{}

func withClientConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientConnKey{}, &clientConn{conn: c})
}

// maxResets is how many requests a connection may take back before that must be less than
// half of them (CVE-2023-44487: each costs a handler and perhaps a connection to a service).
const maxResets = 200

// countReset notes an HTTP/2 request that was taken back, and ends the connection of a
// client that does little else.
func (s *Server) countReset(r *http.Request) {
	c, ok := r.Context().Value(clientConnKey{}).(*clientConn)
	if !ok || r.ProtoMajor != 2 {
		return
	}
	if n := c.resets.Add(1); n > maxResets && 2*n > c.requests.Load() && c.cut.CompareAndSwap(false, true) {
		s.refused.Add(1)
		s.Log.Warn("connection cut", "reason", "requests taken back", "client", r.RemoteAddr, "resets", n)
		c.conn.Close()
	}
}
