package auth

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxRevocations bounds how much of what was revoked is kept: some tens of megabytes with the longest names.
const maxRevocations = 1 << 16

// ErrFull is that nothing more can be revoked before tokens that are have expired.
var ErrFull = errors.New("no room for more: every revocation is of a token that may not have expired")

// Revocations are tokens that are refused although they are good otherwise. The zero value has none. They are kept in memory.
type Revocations struct {
	mu     sync.Mutex // guards the following
	tokens map[tokenName]time.Time
	users  map[string]time.Time // of their tokens those that were issued by then
}

// A tokenName names a token; without an issuer, those of any.
type tokenName struct{ issuer, id string }

// RevokeToken refuses the token with the jti from now on; issuer "": whoever has made it. It is kept until the token expires, which the
// zero time does not know: then until the token is shown, and its own word counts.
func (r *Revocations) RevokeToken(issuer, jti string, expires time.Time) error {
	if jti == "" || len(jti) > maxName || len(issuer) > maxToken {
		return fmt.Errorf("token %.40q: want a jti of 1 to %d bytes", jti, maxName)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := tokenName{issuer, jti}
	if old, there := r.tokens[name]; there && (old.IsZero() || old.After(expires) && !expires.IsZero()) {
		return nil
	}
	if err := r.room(); err != nil {
		return err
	}
	if r.tokens == nil {
		r.tokens = map[tokenName]time.Time{}
	}
	r.tokens[name] = expires
	return nil
}

// RevokeUser refuses the tokens of a user that were issued until now: those whose iat is not later, or that have none.
func (r *Revocations) RevokeUser(user string, now time.Time) error {
	if user == "" || len(user) > maxName {
		return fmt.Errorf("user %.40q: want a name of 1 to %d bytes", user, maxName)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.users[user]; !there {
		if err := r.room(); err != nil {
			return err
		}
	}
	if r.users == nil {
		r.users = map[string]time.Time{}
	}
	r.users[user] = now
	return nil
}

// room makes room for one more. r.mu is held.
func (r *Revocations) room() error {
	if len(r.tokens)+len(r.users) < maxRevocations {
		return nil
	}
	now := time.Now()
	for name, until := range r.tokens {
		if !until.IsZero() && !now.Before(until) {
			delete(r.tokens, name)
		}
	}
	if len(r.tokens)+len(r.users) < maxRevocations {
		return nil
	}
	return ErrFull
}

// Has tells whether the token by which the client was let in is revoked.
func (r *Revocations) Has(id *Identity) bool {
	if id.Method != "bearer" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tokens)+len(r.users) == 0 {
		return false
	}
	if since, ok := r.users[id.User]; ok && !id.Issued.After(since) {
		return true
	}
	if id.TokenID == "" {
		return false
	}
	for _, name := range [2]tokenName{{id.Issuer, id.TokenID}, {"", id.TokenID}} {
		until, revoked := r.tokens[name]
		if !revoked {
			continue
		}
		if until.IsZero() { // now it is known
			r.tokens[name] = id.Expires
		}
		return true
	}
	return false
}

// Len is how many revocations are kept.
func (r *Revocations) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tokens) + len(r.users)
}
