package auth

import (
	"crypto/x509"
	"net/http"
	"time"
)

// NoCertificate is the Reason of a client that showed no certificate which an authority of the listener vouches for.
const NoCertificate = "no client certificate"

// ByCertificate is who a certificate that TLS has verified belongs to: its subject's common name, or the whole subject where it has
// none. It lets nobody in any more once it has expired. The error is an *Error.
func ByCertificate(c *x509.Certificate, now time.Time) (*Identity, error) {
	user := c.Subject.CommonName
	if user == "" {
		user = c.Subject.String()
	}
	if user == "" || len(user) > maxName || !printable(user) {
		return nil, &Error{Status: http.StatusForbidden, Reason: "client certificate: its subject names no user"}
	}
	if !now.Before(c.NotAfter) { // it was verified when the connection began
		return nil, &Error{Status: http.StatusForbidden, Reason: "client certificate: it has expired"}
	}
	return &Identity{User: user, Method: "clientCertificate", Expires: c.NotAfter}, nil
}
