package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line makes an htpasswd line at the least cost.
func line(t testing.TB, user, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash)
}

func parse(t testing.TB, lines ...string) *Users {
	t.Helper()
	u, err := ParseHtpasswd(strings.NewReader(strings.Join(lines, "\n")), "test")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// counted makes u tell how often and against what it runs bcrypt.
func counted(u *Users) (runs *atomic.Int64, last *atomic.Value) {
	runs, last = new(atomic.Int64), new(atomic.Value)
	check := u.check
	u.check = func(hash, password []byte) error {
		runs.Add(1)
		last.Store(string(hash))
		return check(hash, password)
	}
	return runs, last
}

func TestVerify(t *testing.T) {
	u := parse(t, line(t, "ada", "secret"), line(t, "bob", "pass:word"), line(t, "eve", ""))
	for _, c := range []struct {
		user, password string
		want           bool
	}{
		{"ada", "secret", true},
		{"ada", "Secret", false},
		{"ada", "", false},
		{"ada", "secretsecret", false},
		{"Ada", "secret", false},
		{"bob", "pass:word", true},
		{"bob", "secret", false},
		{"eve", "", true},
		{"nobody", "secret", false},
		{"", "", false},
	} {
		for range 2 { // what is remembered must not change the answer
			if got, err := u.Verify(t.Context(), c.user, c.password); err != nil || got != c.want {
				t.Errorf("%q %q: %v, %v; want %v", c.user, c.password, got, err, c.want)
			}
		}
	}
}

// V22: a name that does not exist costs one run of bcrypt like any other, at the cost that the
// hashes have; a wrong password is never remembered, so it costs one each time, too.
func TestUnknownUsersCostTheSame(t *testing.T) {
	cheap, dear := line(t, "cheap", "a"), "dear:$2y$05$"+strings.Repeat("a", 53)
	u := parse(t, cheap, dear, line(t, "other", "b"))
	runs, last := counted(u)
	for i := range 3 {
		if ok, err := u.Verify(t.Context(), "nobody", "x"); ok || err != nil {
			t.Fatal(ok, err)
		}
		if n := runs.Load(); n != int64(2*i+1) {
			t.Errorf("%d runs after %d unknown users", n, i+1)
		}
		if want := strings.TrimPrefix(dear, "dear:"); last.Load() != want {
			t.Errorf("checked against %v, want the costliest, %s", last.Load(), want)
		}
		if ok, err := u.Verify(t.Context(), "cheap", "x"); ok || err != nil {
			t.Fatal(ok, err)
		}
		if n := runs.Load(); n != int64(2*i+2) {
			t.Errorf("%d runs after %d wrong passwords", n, i+1)
		}
		if want := strings.TrimPrefix(cheap, "cheap:"); last.Load() != want {
			t.Errorf("checked against %v, want %s", last.Load(), want)
		}
	}
}

// A name that does not exist stays outside even with the password of the hash it is checked
// against.
func TestTheDummyLetsNobodyIn(t *testing.T) {
	u := parse(t, line(t, "ada", "secret"))
	for range 2 {
		if ok, err := u.Verify(t.Context(), "nobody", "secret"); ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
	}
}

func TestVerifiedIsRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := parse(t, line(t, "ada", "secret"), line(t, "adas", "ecret"))
		runs, _ := counted(u)
		verify := func(user, password string, want int64) {
			t.Helper()
			if ok, err := u.Verify(t.Context(), user, password); !ok || err != nil || runs.Load() != want {
				t.Errorf("%v, %v after %d runs, want %d", ok, err, runs.Load(), want)
			}
		}
		for range 200 {
			verify("ada", "secret", 1)
		}
		verify("adas", "ecret", 2) // another user, though the letters are the same
		time.Sleep(rememberFor - time.Nanosecond)
		verify("ada", "secret", 2)
		time.Sleep(time.Nanosecond)
		verify("ada", "secret", 3)
	})
}

func TestRememberedIsBounded(t *testing.T) {
	u := parse(t, line(t, "ada", "secret"))
	for i := range 3 * maxRemembered {
		u.remember([32]byte{byte(i), byte(i >> 8)})
		if len(u.known) > maxRemembered {
			t.Fatalf("%d remembered", len(u.known))
		}
	}
	u.remember([32]byte{255, 255})
	if !u.remembered([32]byte{255, 255}) {
		t.Error("the newest was forgotten")
	}
}

// However many ask, only so many runs of bcrypt are under way, and those who waited for the
// same credentials need none of their own.
func TestRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := parse(t, line(t, "ada", "secret"))
		var running, most, runs atomic.Int64
		u.check = func(_, password []byte) error {
			runs.Add(1)
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(50 * time.Millisecond)
			running.Add(-1)
			if string(password) != "secret" {
				return bcrypt.ErrMismatchedHashAndPassword
			}
			return nil
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if ok, err := u.Verify(t.Context(), "ada", strings.Repeat("x", i)); ok || err != nil {
					t.Error(ok, err)
				}
			})
		}
		wg.Wait()
		if most.Load() != int64(cap(u.slots)) || runs.Load() != 50 {
			t.Errorf("%d at once, want %d; %d runs, want 50", most.Load(), cap(u.slots), runs.Load())
		}
		for range 50 {
			wg.Go(func() {
				if ok, err := u.Verify(t.Context(), "ada", "secret"); !ok || err != nil {
					t.Error(ok, err)
				}
			})
		}
		wg.Wait()
		if n := runs.Load() - 50; n > int64(cap(u.slots)) {
			t.Errorf("%d runs for the same credentials", n)
		}
	})
}

func TestVerifyWaitsNoLongerThanItMay(t *testing.T) {
	u := parse(t, line(t, "ada", "secret"))
	for range cap(u.slots) {
		u.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ok, err := u.Verify(ctx, "ada", "secret")
	if ok || !errors.Is(err, errBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestAuthenticate(t *testing.T) {
	u := parse(t, line(t, "ada", "secret"))
	const ask = `Basic realm="Realm"`
	for _, c := range []struct {
		name   string
		header []string
		want   *Error
	}{
		{"good", []string{"Basic YWRhOnNlY3JldA=="}, nil},
		{"scheme in other case", []string{"bAsIC YWRhOnNlY3JldA=="}, nil},
		{"none", nil, &Error{401, ask, "no basic credentials"}},
		{"empty", []string{""}, &Error{401, ask, "no basic credentials"}},
		{"another scheme", []string{"Bearer YWRhOnNlY3JldA=="}, &Error{401, ask, "no basic credentials"}},
		{"not base64", []string{"Basic ada:secret"}, &Error{401, ask, "no basic credentials"}},
		{"no colon", []string{"Basic YWRh"}, &Error{401, ask, "no basic credentials"}},
		{"wrong", []string{"Basic YWRhOndyb25n"}, &Error{401, ask, "wrong credentials"}},
		{"unknown", []string{"Basic Ym9iOnNlY3JldA=="}, &Error{401, ask, "wrong credentials"}},
		{"twice", []string{"Basic YWRhOnNlY3JldA==", "Basic eA=="}, &Error{401, ask, "several Authorization headers"}},
		{"long", []string{"Basic " + strings.Repeat("YWE6", 400)}, &Error{401, ask, "credentials too long"}},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Authorization"] = c.header
		id, err := u.Authenticate(r)
		if c.want == nil {
			if err != nil || id.User != "ada" || id.Method != "basic" || !u.Accepts(id) {
				t.Errorf("%s: %v, %v", c.name, id, err)
			}
			continue
		}
		var got *Error
		if !errors.As(err, &got) || *got != *c.want || id != nil || err.Error() != c.want.Reason {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, id, c.want)
		}
	}
}

func TestAuthenticateAnswers503(t *testing.T) {
	want := func(t *testing.T, u *Users, reason string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.SetBasicAuth("ada", "secret")
		id, err := u.Authenticate(r)
		var got *Error
		if !errors.As(err, &got) || *got != (Error{Status: 503, Reason: reason}) || id != nil {
			t.Errorf("%+v, %v", got, id)
		}
	}
	want(t, nil, "no users are configured")
	synctest.Test(t, func(t *testing.T) {
		u := parse(t, line(t, "ada", "secret"))
		for range cap(u.slots) {
			u.slots <- struct{}{}
		}
		start := time.Now()
		want(t, u, "credentials: too many checks under way: context deadline exceeded")
		if d := time.Since(start); d != verifyDeadline {
			t.Errorf("after %v, want %v", d, verifyDeadline)
		}
	})
}
