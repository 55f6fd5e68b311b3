// Package auth says who a client is: basic credentials against htpasswd lines with bcrypt (auth.go), bearer tokens against the keys of
// their issuers (jwt.go), client certificates (certificate.go); and what of tokens has been revoked since (revoke.go).
package auth

import (
	"bufio"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// BasicConfig names who may log in. Both may be given; none: nobody is asked.
type BasicConfig struct {
	// Users are htpasswd lines with bcrypt, "name:$2y$...", as `htpasswd -nB name` makes them. Default
	// none. Give all the same cost: it shows in the time of a refusal.
	Users []string `yaml:"users"`

	// UsersFile is a file of such lines, read at start and reload; empty lines and those that begin with
	// "#" do not count. Default none.
	UsersFile string `yaml:"usersFile"`
}

// Open reads the configured users; nil without an error when none are configured.
func (c BasicConfig) Open() (*Users, error) {
	if len(c.Users) == 0 && c.UsersFile == "" {
		return nil, nil //nolint:nilnil // nobody configured is no error
	}
	all := newUsers()
	if len(c.Users) > 0 {
		if err := all.read(strings.NewReader(strings.Join(c.Users, "\n")), "users"); err != nil {
			return nil, err
		}
	}
	if c.UsersFile != "" {
		f, err := os.Open(c.UsersFile)
		if err != nil {
			return nil, fmt.Errorf("usersFile: %w", err)
		}
		defer f.Close()
		if err := all.read(f, c.UsersFile); err != nil {
			return nil, err
		}
	}
	if len(all.hashes) == 0 {
		return nil, fmt.Errorf("%s: no user in it", cmp.Or(c.UsersFile, "users"))
	}
	return all, nil
}

// An Identity is a client that was recognised. It is immutable.
type Identity struct {
	User   string
	Method string // basic, bearer, clientCertificate

	// Of a token.
	Issuer  string
	TokenID string    // jti; "": it has none
	Issued  time.Time // zero: it does not say
	Expires time.Time // when it lets nobody in any more, clockSkew included; also of a certificate

	hash string // of basic: that of the password, as it is configured
}

// An Error is a client that was not let in, with the answer it gets.
type Error struct {
	Status    int    // 401, or 503 when credentials cannot be checked in time
	Challenge string // WWW-Authenticate, if Status is 401
	Reason    string // for the log, never for the client
}

func (e *Error) Error() string { return e.Reason }

// NoCredentials is the Reason of a client that sent none; it is asked for them.
const NoCredentials = "no basic credentials"

// Bounds on what is read and remembered.
const (
	maxUsersFile   = 4 << 20 // bytes
	maxCost        = 16      // of a bcrypt hash: some seconds of a core, which no deadline can end
	maxCredential  = 1 << 10 // bytes of user and password together
	maxRemembered  = 1024
	rememberFor    = 5 * time.Minute
	verifyDeadline = 10 * time.Second
)

// BasicChallenge asks for basic credentials (RFC 7617).
const BasicChallenge = `Basic realm="Realm"`

// Users are names with their bcrypt hashes. They are immutable once open; what has been
// verified is remembered for a while, as a keyed hash, because clients poll.
type Users struct {
	hashes map[string][]byte
	dummy  []byte                            // checked for names that do not exist, so that they take as long; the costliest of hashes
	cost   int                               // of dummy
	key    [32]byte                          // of what is remembered
	check  func(hash, password []byte) error // bcrypt.CompareHashAndPassword
	slots  chan struct{}                     // bounds the bcrypt runs under way, so that guessing never takes every core

	mu    sync.Mutex             // guards the following
	known map[[32]byte]time.Time // until when, by MAC of user and password
}

func newUsers() *Users {
	u := &Users{
		hashes: map[string][]byte{}, known: map[[32]byte]time.Time{},
		check: bcrypt.CompareHashAndPassword, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	_, _ = rand.Read(u.key[:]) // never fails
	return u
}

// ParseHtpasswd reads htpasswd lines; name stands in errors. Empty lines and lines that
// begin with "#" are passed over. Only bcrypt is accepted.
func ParseHtpasswd(r io.Reader, name string) (*Users, error) {
	u := newUsers()
	if err := u.read(r, name); err != nil {
		return nil, err
	}
	if len(u.hashes) == 0 {
		return nil, fmt.Errorf("%s: no user in it", name)
	}
	return u, nil
}

// read adds the lines of r.
func (u *Users) read(r io.Reader, name string) error {
	rest := &io.LimitedReader{R: r, N: maxUsersFile + 1}
	lines := bufio.NewScanner(rest)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return fmt.Errorf("%s:%d: want name:hash, as htpasswd -nB makes it", name, n)
		}
		cost, err := bcryptCost(hash)
		if err != nil {
			return fmt.Errorf("%s:%d: user %q: %w: make one with htpasswd -nB %s", name, n, user, err, user)
		}
		if _, twice := u.hashes[user]; twice {
			return fmt.Errorf("%s:%d: user %q is there twice", name, n, user)
		}
		u.hashes[user] = []byte(hash)
		if cost > u.cost {
			u.dummy, u.cost = u.hashes[user], cost
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if rest.N == 0 {
		return fmt.Errorf("%s: at most %d bytes are read", name, maxUsersFile)
	}
	return nil
}

// isBcrypt tells whether hash is written as bcrypt writes it: $2a$, $2b$ or $2y$, the cost,
// and 53 characters of salt and sum.
func isBcrypt(hash string) bool {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return len(hash) == 60 && hash[:2] == "$2" && strings.IndexByte("aby", hash[2]) >= 0 && hash[3] == '$' && hash[6] == '$' &&
		strings.Trim(hash[7:], alphabet) == ""
}

// bcryptCost returns the cost of a hash that can be checked.
func bcryptCost(hash string) (int, error) {
	if !isBcrypt(hash) {
		return 0, errors.New("the hash is not bcrypt")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil:
		return 0, errors.New("the hash is not bcrypt")
	case cost > maxCost:
		return 0, fmt.Errorf("the cost of the hash is %d, at most %d is accepted", cost, maxCost)
	}
	return cost, nil
}

// Generate makes one htpasswd line.
func Generate(user, password string) (string, error) {
	if user == "" || strings.ContainsAny(user, ":\r\n") || user[0] == '#' || user != strings.TrimSpace(user) {
		return "", fmt.Errorf("user %q: want a name without a colon, a line break, a space at its ends, or # before it", user)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("user %q: %w", user, err)
	}
	return user + ":" + string(hash), nil
}

// errBusy is a check that found no slot in time.
var errBusy = errors.New("credentials: too many checks under way")

// Verify tells whether password is the user's. It takes as long for a name that does not
// exist. The error is that ctx ended before a core was free for the check.
func (u *Users) Verify(ctx context.Context, user, password string) (bool, error) {
	sum := u.sum(user, password)
	if u.remembered(sum) {
		return true, nil
	}
	return u.verify(ctx, sum, user, password)
}

// sum is the name under which a verified credential is remembered.
func (u *Users) sum(user, password string) (sum [32]byte) {
	mac := hmac.New(sha256.New, u.key[:])
	_, _ = io.WriteString(mac, strconv.Itoa(len(user))+":"+user+":"+password)
	mac.Sum(sum[:0])
	return sum
}

// verify runs bcrypt, which takes tens of milliseconds, once one of the slots for it is free.
func (u *Users) verify(ctx context.Context, sum [32]byte, user, password string) (bool, error) {
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return false, fmt.Errorf("%w: %w", errBusy, ctx.Err())
	}
	if u.remembered(sum) { // another request has checked the same meanwhile
		return true, nil
	}
	hash, exists := u.hashes[user]
	if !exists {
		hash = u.dummy
	}
	if u.check(hash, []byte(password)) != nil || !exists {
		return false, nil
	}
	u.remember(sum)
	return true, nil
}

func (u *Users) remembered(sum [32]byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, ok := u.known[sum]
	return ok && time.Now().Before(until)
}

func (u *Users) remember(sum [32]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.known) >= maxRemembered {
		clear(u.known) // rare, and only costs a check each
	}
	u.known[sum] = time.Now().Add(rememberFor)
}

// Authenticate checks the basic credentials of r; it may take long. The error is an *Error.
func (u *Users) Authenticate(r *http.Request) (*Identity, error) {
	return u.Identify(r.Context(), r.Header["Authorization"], func(check func()) { check() })
}

// Identify checks basic credentials, given the values of the Authorization fields of a request.
// What has been verified before, and what is malformed, is judged at once. All else is a function
// that may take some seconds, and that slow has to run before it returns. The error is an *Error.
func (u *Users) Identify(ctx context.Context, authorization []string, slow func(check func())) (*Identity, error) {
	if u == nil {
		return nil, &Error{Status: http.StatusServiceUnavailable, Reason: "no users are configured"}
	}
	if len(authorization) > 1 {
		return nil, &Error{Status: http.StatusUnauthorized, Challenge: BasicChallenge, Reason: "several Authorization headers"}
	}
	user, password, ok := basicCredentials(authorization)
	if !ok {
		return nil, &Error{Status: http.StatusUnauthorized, Challenge: BasicChallenge, Reason: NoCredentials}
	}
	if len(user)+len(password) > maxCredential {
		return nil, &Error{Status: http.StatusUnauthorized, Challenge: BasicChallenge, Reason: "credentials too long"}
	}
	sum := u.sum(user, password)
	good := u.remembered(sum)
	if !good {
		var err error
		slow(func() {
			ctx, cancel := context.WithTimeout(ctx, verifyDeadline)
			defer cancel()
			good, err = u.verify(ctx, sum, user, password)
		})
		if err != nil {
			return nil, &Error{Status: http.StatusServiceUnavailable, Reason: err.Error()}
		}
	}
	if !good {
		return nil, &Error{Status: http.StatusUnauthorized, Challenge: BasicChallenge, Reason: "wrong credentials"}
	}
	return &Identity{User: user, Method: "basic", hash: string(u.hashes[user])}, nil
}

// Accepts tells whether who was let in by a password would be so today: the user is there, with the same line.
func (u *Users) Accepts(id *Identity) bool {
	return u != nil && string(u.hashes[id.User]) == id.hash && id.hash != ""
}

// basicCredentials reads the one value of Authorization (RFC 7617, section 2).
func basicCredentials(authorization []string) (user, password string, ok bool) {
	const scheme = "Basic "
	if len(authorization) != 1 || len(authorization[0]) < len(scheme) || !strings.EqualFold(authorization[0][:len(scheme)], scheme) {
		return "", "", false
	}
	text, err := base64.StdEncoding.DecodeString(authorization[0][len(scheme):])
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}
