package interop

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// mutationPieces are what goes into the bytes of a request, or takes the place of some.
var mutationPieces = []string{
	"\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", "\x00", "\x0b", ":", ";", ",", "0", "5", "a", "F", "+", "-", "_", "\"", "\\", "#", "?", "%", "%00", "%2f", "\x7f", "\xff",
	"Content-Length: 5\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: x\r\n", "Host: b\r\n", "Connection: close\r\n", "Connection: content-length\r\n",
	"Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "HTTP/1.0", "HTTP/1.1", "0\r\n\r\n", "5\r\nhello\r\n", "GET ~/in HTTP/1.1\r\n" + gwHost + "\r\n", "X: y\r\n", "POST", "HEAD",
}

// TestHTTPAttackMutations changes good requests at random. The reference is readRequest, which knows nothing of the
// gateway: what the service gets must be what it reads in the same bytes. MUTATIONS is how many, SEED what they begin with: the
// same ones each time, or others with SEED=random.
func TestHTTPAttackMutations(t *testing.T) {
	a := newAttacker(t, nil)
	count, _ := strconv.Atoi(cmp.Or(os.Getenv("MUTATIONS"), "3000"))
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SEED"), "1"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	seeds := []string{
		get(""), get("Connection: keep-alive, x\r\nX: y\r\n"), post("Content-Length: 5\r\n", "hello"), chunked("5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
		"HEAD ~ HTTP/1.1\r\n" + gwHost + "\r\n", "GET http://gw.test~ HTTP/1.1\r\n" + gwHost + "\r\n", "PUT ~ HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
	}
	all := make([]string, count)
	for n := range all {
		send := ""
		for range 1 + random.IntN(3) {
			send += seeds[random.IntN(len(seeds))]
		}
		for range random.IntN(4) {
			send = mutate(random, send)
		}
		all[n] = strings.ReplaceAll(send, "~", "/raw/api/v1/"+mutant(n))
	}
	var workers sync.WaitGroup
	for w := range 16 {
		workers.Go(func() {
			for n := w; n < count; n += 16 {
				if err := a.throw(all[n]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	accepted, both := 0, 0
	_, broken := a.service.requests("mutant")
	if len(broken) > 0 {
		t.Errorf("no gateway may send %q", broken)
	}
	for n, send := range all {
		list, _ := a.service.requests(mutant(n))
		want := reference(send)
		for i, h := range list {
			if !h.whole {
				continue
			}
			accepted++
			if i >= len(want) || h.String() != want[i] {
				t.Errorf("sent %q:\nthe service got %q\nwant a beginning of %q", send, list, want)
				break
			}
			both++
		}
	}
	t.Logf("%d attempts, %d requests reached the service", count, accepted)
	if both < count/4 {
		t.Errorf("only %d requests reached the service: the mutations are too wild to tell anything", both)
	}
	got, _ := a.service.requests("mutant")
	logged := func() error {
		content, err := os.ReadFile(a.accessLog)
		if lines := strings.Count(string(content), "\n"); lines < len(got) {
			err = errors.Join(err, fmt.Errorf("%d requests reached the service, %d are logged", len(got), lines))
		}
		return err
	}
	if err := poll(wait, nil, logged); err != nil {
		t.Error(err)
	}
}

// mutant is the path of the n-th case.
func mutant(n int) string { return "mutant" + strconv.Itoa(n) + "x" }

// mutate puts a piece somewhere, in place of a few bytes or of none, or takes some away.
func mutate(random *rand.Rand, s string) string {
	at := random.IntN(len(s) + 1)
	to := min(len(s), at+random.IntN(4))
	piece := ""
	if random.IntN(4) > 0 {
		piece = mutationPieces[random.IntN(len(mutationPieces))]
	}
	return s[:at] + piece + s[to:]
}

// throw sends bytes and waits for the end of the connection.
func (a *attacker) throw(send string) error {
	conn, err := net.Dial("tcp", a.plain)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The last request ends the connection, if the gateway still listens then. If it waits for more, it gets a FIN.
	_, _ = io.WriteString(conn, send+"GET /raw/api/v1/last HTTP/1.1\r\n"+gwHost+"Connection: close\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection stays open behind %q", send)
	}
	return nil
}

// reference reads the requests in send as the service is to get them: with what a gateway makes of them by rule.
func reference(send string) []string {
	in := bufio.NewReader(strings.NewReader(send + "GET /raw/api/v1/last HTTP/1.1\r\n" + gwHost + "Connection: close\r\n\r\n"))
	var list []string
	for {
		for next, _ := in.Peek(2); string(next) == "\r\n"; next, _ = in.Peek(2) { // RFC 9112, section 2.2
			_, _ = in.Discard(2)
		}
		h, err := readRequest(in, true)
		if err != nil {
			return list
		}
		target := h.target
		if rest, found := strings.CutPrefix(target, "http://"); found {
			target = rest[max(strings.IndexAny(rest, "/?"), 0):] // whose authority is not Host's is refused, and the last one
		}
		if rest, found := strings.CutPrefix(target, "/raw/api/v1/"); found { // else there is no route
			h.target = "/api/" + rest
			list = append(list, h.String())
		}
		line, _, _ := strings.Cut(h.head, "\r\n")
		if hasToken(h.fields["connection"], "close") || strings.HasSuffix(line, " HTTP/1.0") && !hasToken(h.fields["connection"], "keep-alive") {
			return list
		}
	}
}

// hasToken looks for token in the comma-separated lists of a field.
func hasToken(lines []string, token string) bool {
	for _, item := range strings.Split(strings.Join(lines, ","), ",") {
		if strings.EqualFold(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}
