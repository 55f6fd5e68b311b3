package interop

import (
	endian "encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// authorizes shows the filter ExternalAuth over HTTP: tickets lets a request and a handshake pass, or does not.
func authorizes(t *testing.T, m *manifests, tickets *echo) {
	tickets.turn("/check/secret", http.StatusForbidden)
	const open, secret = "http://auth.example/open?set=X-User:ada", "http://auth.example/secret?set=X-User:ada"
	fields := []string{"X-Ticket", "42", "X-Other", "1", "X-User", "forged"}
	s := m.open(t, open, fields...)
	for _, saw := range []seen{m.get(t, open, http.StatusOK, fields...).saw, s.saw} {
		if saw.Service != "one" || !slices.Equal(saw.Header.Values("X-User"), []string{"ada"}) || saw.Header.Get("X-Other") != "1" {
			t.Errorf("%s saw %v", saw.Service, saw.Header)
		}
	}
	s.ask("more", "more")
	if saw := m.get(t, "http://auth.example/open", http.StatusOK, fields...).saw; saw.Header.Get("X-User") != "" {
		t.Errorf("the client says who it is: %v", saw.Header)
	}
	if a := m.get(t, secret, http.StatusForbidden, fields...); a.saw.Service == "one" {
		t.Errorf("the service was asked: %s", a.body)
	}
	m.refusesSession(t, secret, http.StatusForbidden, fields...)
	for _, asked := range tickets.requests("/check/") {
		h := asked.Header
		if h.Get("X-Ticket") != "42" || h.Get("X-Other") != "" || h.Get("Upgrade") != "" || asked.Host != "auth.example" {
			t.Errorf("the authority was asked with %v for %s", h, asked.Host)
		}
	}
	m.refuses(t, "http://auth.example/nobody-to-ask", http.StatusServiceUnavailable)

	post := func(body string) *answerOf {
		return askWith(t, m.client, http.MethodPost, "http://auth.example/with-body", body)
	}
	if a := post("0123456789"); a.saw.Service != "one" || a.saw.Body != "0123456789" {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	if asked := tickets.requests("/body/"); len(asked) != 1 || asked[0].Body != "0123456789" || asked[0].Method != http.MethodPost {
		t.Errorf("the authority was asked %+v", asked)
	}
	post(strings.Repeat("x", 17)).want(t, http.StatusRequestEntityTooLarge)
}

// A grpcAuthority is Envoy's external authorization: it refuses what has "secret" in its path.
type grpcAuthority struct{ asked atomic.Value } // string: the last question, as it came

// ServeHTTP implements http.Handler.
func (g *grpcAuthority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	question, err := readGRPC(r.Body)
	if err != nil || r.URL.Path != "/envoy.service.auth.v3.Authorization/Check" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	g.asked.Store(question)
	// CheckResponse{status{}, ok_response{headers[{header{key, value}}]}}
	answer := member(1, "") + member(3, member(2, member(1, member(1, "x-user")+member(2, "ada"))))
	if strings.Contains(question, "/secret") {
		const unauthorized = "\x08\x91\x03" // HttpStatus{code: 401}
		answer = member(1, "\x08\x10") + member(2, member(1, unauthorized)+member(3, "says the guard"))
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(grpcMessage(answer))
	w.Header().Set("Grpc-Status", "0")
}

// member is a member of a message of Protocol Buffers: a message or a string.
func member(number int, content string) string {
	b := endian.AppendUvarint([]byte{byte(number<<3 | 2)}, uint64(len(content)))
	return string(b) + content
}

// authorizesByGRPC shows the filter ExternalAuth over gRPC.
func authorizesByGRPC(t *testing.T, m *manifests, guard *grpcAuthority) {
	const open, secret = "http://auth.example/asked-in-grpc/open", "http://auth.example/asked-in-grpc/secret"
	s := m.open(t, open, "X-Ticket", "42", "X-User", "forged", "X-Other", "other")
	question, _ := guard.asked.Load().(string)
	for _, piece := range []string{"/asked-in-grpc/open", "auth.example", "x-ticket", "GET"} {
		if !strings.Contains(question, piece) {
			t.Errorf("the authority was asked %q, without %q", question, piece)
		}
	}
	if strings.Contains(question, "x-other") {
		t.Errorf("the authority was asked %q", question)
	}
	for _, saw := range []seen{m.get(t, open, http.StatusOK, "X-User", "forged").saw, s.saw} {
		if saw.Service != "one" || !slices.Equal(saw.Header.Values("X-User"), []string{"ada"}) {
			t.Errorf("%s saw %v", saw.Service, saw.Header)
		}
	}
	s.ask("more", "more")
	if a := m.get(t, secret, http.StatusUnauthorized); a.body != "says the guard" {
		t.Errorf("the answer is %q", a.body)
	}
	m.refusesSession(t, secret, http.StatusUnauthorized)
}
