package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
)

// maxRevoked bounds each list of one revocation.
const maxRevoked = 1000

// revocation is the body of POST /application/revoke.
type revocation struct {
	Users    []string  `json:"users"`
	Tokens   []string  `json:"tokens"`
	Issuer   string    `json:"issuer"`
	Expires  time.Time `json:"expires"`
	Sessions []string  `json:"sessions"`
}

// revoke ends the sessions of users, of tokens and by id, and has the tokens refused from now on.
func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	var body revocation
	err := readRevocation(r.Body, &body)
	if err != nil {
		writeError(w, http.StatusBadRequest, "ZWEAO400E", "org.zowe.apiml.common.badRequest", "The structure of the request is invalid: "+err.Error())
		return
	}
	done, err := s.Revoke(&proxy.Revocation{
		Users: body.Users, Tokens: body.Tokens, Issuer: body.Issuer, Expires: body.Expires, Sessions: body.Sessions,
	})
	switch {
	case errors.Is(err, auth.ErrFull):
		writeError(w, http.StatusInsufficientStorage, "ZWEAO503E", "org.zowe.apiml.common.serviceUnavailable",
			fmt.Sprintf("The server is not ready to handle the request: %v; %d users and %d tokens are revoked, %d sessions end", auth.ErrFull, done.Users, done.Tokens, done.Sessions))
	case err != nil:
		writeError(w, http.StatusBadRequest, "ZWEAO400E", "org.zowe.apiml.common.badRequest", "The structure of the request is invalid: "+err.Error())
	default:
		writeJSON(w, http.StatusOK, "application/json", done)
	}
}

func readRevocation(body io.Reader, into *revocation) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errors.New(`want JSON as {"users": ["ada"], "tokens": ["jti"], "sessions": ["id"]}`)
	}
	switch {
	case len(into.Users)+len(into.Tokens)+len(into.Sessions) == 0:
		return errors.New("it names no users, no tokens and no sessions")
	case len(into.Users) > maxRevoked || len(into.Tokens) > maxRevoked || len(into.Sessions) > maxRevoked:
		return fmt.Errorf("a list of more than %d", maxRevoked)
	case len(into.Tokens) == 0 && (into.Issuer != "" || !into.Expires.IsZero()):
		return errors.New("issuer and expires go with tokens")
	}
	return nil
}
