package eureka

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

// SetUsers says who may use the registry beside the holders of client certificates; nil: nobody. Any goroutine
// may call it, also while the handler serves.
func (r *Registry) SetUsers(u *auth.Users) { r.users.Store(u) }

// identify says who sent the request: the subject of a verified client certificate, or a user; either suffices.
// The name is empty only where nobody has to say who they are.
func (r *Registry) identify(req *http.Request) (name string, err error) {
	if r.cfg.Auth.ClientCertificates && req.TLS != nil && len(req.TLS.VerifiedChains) > 0 {
		return subject(req.TLS.VerifiedChains[0][0]), nil
	}
	users := r.users.Load()
	switch {
	case users != nil:
		id, err := users.Authenticate(req)
		if err != nil {
			return "", err
		}
		return id.User, nil
	case r.cfg.Auth.hasUsers():
		return "", errors.New("users are configured but were not opened") // never serve without them
	case r.cfg.Auth.ClientCertificates:
		return "", &auth.Error{Status: http.StatusForbidden, Reason: "no client certificate"}
	}
	return "", nil
}

// subject names the holder of a certificate, as no user can be named.
func subject(cert *x509.Certificate) string {
	if s := cert.Subject.String(); s != "" {
		return "certificate: " + s
	}
	return fmt.Sprintf("certificate: %x", sha256.Sum256(cert.Raw))
}

// crossSite refuses changes that a web page asks for: it must not register services through the browser of
// somebody who may. Every browser sends Origin with a change, and no Eureka client does; a page whose name was
// made to resolve to this registry would pass a check for the same origin.
func (r *Registry) crossSite(req *http.Request) error {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return nil
	}
	if _, page := req.Header["Origin"]; page {
		return &auth.Error{Status: http.StatusForbidden, Reason: "changes are not taken from web pages: the request has an Origin"}
	}
	if err := r.cross.Check(req); err != nil {
		return &auth.Error{Status: http.StatusForbidden, Reason: err.Error()}
	}
	return nil
}

// denied answers a request whose sender may not be here.
func (r *Registry) denied(c *call, err error) {
	r.unauthorized.Add(1)
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*auth.Error](err); ok {
		status = e.Status
		if e.Challenge != "" {
			c.w.Header().Set("WWW-Authenticate", e.Challenge)
		}
	}
	r.warned(c.req, status, err.Error())
	c.fail(status, http.StatusText(status))
}

// warned logs what a peer did wrong, at most so often.
func (r *Registry) warned(req *http.Request, status int, reason string) {
	if ok, missed := r.warn.allow(time.Now()); ok {
		r.log.Warn("registry request refused", "peer", req.RemoteAddr, "method", req.Method, "path", req.URL.EscapedPath(),
			"status", status, "reason", reason, "not_logged", missed)
	}
}

// near says whether the peer is on this machine: it came over loopback, or from the address it came to.
func near(req *http.Request) bool {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return false
	}
	if peer.Addr().Unmap().IsLoopback() {
		return true
	}
	local, ok := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap() == peer.Addr().Unmap()
}

// warnings that a limiter lets pass a second.
const warningsPerSecond = 10

// limiter bounds log lines that a peer can cause.
type limiter struct {
	mu     sync.Mutex // guards the following
	second int64
	passed int
	missed int64
}

// allow says whether to log now, and how many lines were missed before this one.
func (l *limiter) allow(now time.Time) (ok bool, missed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.passed = s, 0
	}
	if l.passed == warningsPerSecond {
		l.missed++
		return false, 0
	}
	l.passed++
	missed, l.missed = l.missed, 0
	return true, missed
}
