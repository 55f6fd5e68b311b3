package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
)

// hopHeader names the gateways that a request has passed. Each has an id of its own for as
// long as it runs: one that finds its own is looking at a loop.
const hopHeader = "Fairlead-Hop"

// maxHops bounds the gateways in a row; a longer chain is taken for a loop too.
const maxHops = 8

// hopIDSize is the length of an id.
const hopIDSize = 16

func newHopID() string {
	var id [hopIDSize / 2]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// hops reads the gateways before this one. What is no list of ids is a client's invention
// and counts for nothing.
func hops(fields http1.Fields) string {
	line := joined(fields, hopHeader)
	if len(line) > 16*4*maxHops {
		return ""
	}
	for id := range strings.SplitSeq(line, ",") {
		if id = strings.Trim(id, " "); len(id) != hopIDSize || strings.Trim(id, "0123456789abcdef") != "" {
			return ""
		}
	}
	return line
}

// looped says that the request has come back to this gateway, by a registration or a route
// that leads to its own address, or has passed too many.
func (s *Server) looped(x *exchange) *failure {
	if x.hops == "" {
		return nil
	}
	if strings.Contains(x.hops, s.hopID) {
		return &failure{
			status: http.StatusLoopDetected, cause: "loop: the request came back to this gateway", http: true,
			message: ErrorMessage("ZWEAO508E", "org.zowe.apiml.common.loopDetected", "The route of '%s' leads back to the gateway", x.target),
		}
	}
	if strings.Count(x.hops, ",")+1 >= maxHops {
		return &failure{
			status: http.StatusLoopDetected, cause: "loop: too many gateways in a row", http: true,
			message: ErrorMessage("ZWEAO508E", "org.zowe.apiml.common.loopDetected", "The request for '%s' has passed too many gateways", x.target),
		}
	}
	return nil
}

// unreadTimeout bounds, over HTTP/1, how long the body of a request is read on that was
// answered without it.
const unreadTimeout = 5 * time.Second

// maxResets is how many requests a connection may take back before that must be less than
// half of them (CVE-2023-44487: each costs a handler and perhaps a connection to a service).
const maxResets = 200

// countReset notes an HTTP/2 request that was taken back, and ends the connection of a
// client that does little else.
func (s *Server) countReset(c *clientConn) {
	if !c.http2 {
		return
	}
	if n := c.resets.Add(1); n > maxResets && 2*n > c.requests.Load() && c.cut.CompareAndSwap(false, true) {
		s.refused.Add(1)
		s.Log.Warn("connection cut", "reason", "requests taken back", "client", c.peerText, "resets", n)
		c.conn.Close()
	}
}
