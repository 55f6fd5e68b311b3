package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A hostileAnswer is what a service says to one request, and what the client may get of it.
type hostileAnswer struct {
	name, method string // "": GET
	answer       string // with closes behind it: and ends the connection
	// A status and a body, or several of them: "502|200 hello". "cut" instead of the body: the answer breaks off; alone: before its head.
	want string
}

const okHead = "HTTP/1.1 200 OK\r\n"

func hostileAnswers() []hostileAnswer {
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nPOISONED"
	list := []hostileAnswer{
		{"a length", "", okHead + "Content-Length: 5\r\n\r\nhello", "200 hello"},
		{"chunks", "", okHead + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", "200 hello"},
		{"until it closes", "", okHead + "\r\nhello" + closes, "200 hello"},
		{"HTTP/1.0 until it closes", "", "HTTP/1.0 200 OK\r\n\r\nhello" + closes, "200 hello"},
		{"no reason", "", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", "200 hello"},
		{"an early hint", "", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + okHead + "Content-Length: 5\r\n\r\nhello", "200 hello"},
		{"a flood of interim answers", "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 5000) + okHead + "Content-Length: 5\r\n\r\nhello", "502|200 hello"},
		{"100 nobody asked for", "", "HTTP/1.1 100 Continue\r\n\r\n" + okHead + "Content-Length: 5\r\n\r\nhello", "200 hello"},
		{"101 nobody asked for", "", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + poison, "502"},
		{"CL and TE", "", okHead + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "502"},
		{"two lengths", "", okHead + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "502"},
		{"the same length twice", "", okHead + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "502|200 hello"},
		{"another answer behind it", "", okHead + "Content-Length: 5\r\n\r\nhello" + poison, "200 hello"},
		{"another answer behind chunks", "", okHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + poison, "200 hello"},
		{"another answer behind no content", "", "HTTP/1.1 204 No Content\r\n\r\n" + poison, "204"},
		{"content with 204", "", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "204|502"},
		{"chunks with 204", "", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "204|502"},
		{"a length with 304", "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304"},
		{"content with 304", "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", "304"},
		{"content for HEAD", "HEAD", okHead + "Content-Length: 5\r\n\r\nhello", "200"},
		{"another answer behind HEAD's", "HEAD", okHead + "Content-Length: 5\r\n\r\n" + poison, "200"},
		{"an end before the length", "", okHead + "Content-Length: 9\r\n\r\nhello" + closes, "200 cut"},
		{"an end before the last chunk", "", okHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + closes, "200 cut"},
		{"an end within the last chunk", "", okHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + closes, "200 cut"},
		{"an end within the head", "", okHead + "Content-Len" + closes, "502"},
		{"nothing", "", closes, "502"},
		{"garbage", "", strings.Repeat("garbage\r\n", 9) + closes, "502"},
		{"a long head", "", okHead + "X: " + strings.Repeat("a", 4<<20) + "\r\n\r\n" + closes, "502"},
		{"many fields", "", okHead + manyFields(50_000) + "\r\n" + closes, "502"},
		{"a long line", "", strings.Repeat("HTTP", 1<<20) + closes, "502"},
		{"chunked in HTTP/1.0", "", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + closes, "502"},
		{"a folded field", "", okHead + "X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", "502|200 hello"},
		{"a flood of extensions", "", okHead + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("a", 4000)+"\r\nx\r\n", 500) + "0\r\n\r\n", "200 cut|502|cut"},
		{"a long trailer", "", okHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "200 cut|200 hello|cut"},
		{"trailers that frame", "", okHead + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", "200 hello|200 cut"},
	}
	for _, line := range []string{
		"HTTP/1.1 2000 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 -20 OK", "HTTP/1.1", "HTTP/2.0 200 OK", "HTTP/0.9 200 OK", "http/1.1 200 OK", "ICY 200 OK",
		"HTTP/1.1  200 OK", "HTTP/1.1\t200 OK", " HTTP/1.1 200 OK", "HTTP/1.1 200\tOK", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK", "HTTP/1.10 200 OK",
	} {
		list = append(list, hostileAnswer{"status line " + line, "", line + "\r\nContent-Length: 5\r\n\r\nhello" + closes, "502"})
	}
	for _, field := range []string{
		"Content-Length: +5", "Content-Length: -5", "Content-Length: 0x5", "Content-Length: 5, 6", "Content-Length: ", "Content-Length: 99999999999999999999", "Content-Length: 5 5",
		"Content-Length: 5\nX: y", "Content-Length: 5\rX: y", "X : y", "X\x00: y", "X: \x00", ": y", "X", "X y: z", " X: y", "Transfer-Encoding: x", "Transfer-Encoding: gzip, chunked",
		"Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity", "Transfer-Encoding : chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: \x0bchunked",
	} {
		list = append(list, hostileAnswer{"field " + field, "", okHead + field + "\r\n\r\nhello" + closes, "502"})
	}
	for _, chunk := range []string{
		"zz\r\nhello\r\n", "0x5\r\nhello\r\n", "+5\r\nhello\r\n", "-5\r\nhello\r\n", "5\nhello\r\n", "5\r\nhello\n", "5\r\nhelloX\r\n", "3\r\nhello\r\n", "10000000000000005\r\nhello\r\n", "FFFFFFFFFFFFFFFF\r\nhello\r\n", "\r\nhello\r\n", " 5\r\nhello\r\n",
		"5;a\nb\r\nhello\r\n",
	} {
		list = append(list, hostileAnswer{"chunk " + chunk, "", okHead + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "0\r\n\r\n", "200 cut|502|cut"})
	}
	return list
}

// TestHTTPHostileService: whatever a service says, no client gets anything but the answer to its own request, and an
// answer that breaks off never looks whole.
func TestHTTPHostileService(t *testing.T) {
	cases := hostileAnswers()
	a := newAttacker(t, func(h heard) string {
		_, text, found := strings.Cut(h.target, "/hostile/")
		n, err := strconv.Atoi(text)
		if !found || err != nil {
			return ""
		}
		return cases[n].answer
	})
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for _, secure := range []bool{false, true} {
				method := tc.method
				if method == "" {
					method = http.MethodGet
				}
				got := a.ask(t, secure, method, fmt.Sprintf("/raw/api/v1/hostile/%d", i))
				if !slices.Contains(strings.Split(tc.want, "|"), got) {
					t.Errorf("TLS %v: the client gets %.200q, want %q", secure, got, tc.want)
				}
				for k := range 3 { // more than one connection to the service may be spoilt
					path := fmt.Sprintf("after/%d/%v/%d", i, secure, k)
					if got, want := a.ask(t, secure, http.MethodGet, "/raw/api/v1/"+path), "200 GET /api/"+path; got != want {
						t.Errorf("TLS %v: then another client gets %.200q, want %q", secure, got, want)
					}
				}
			}
		})
	}
}

// ask makes a request on a connection of its own and gives status and body, where both are one's own: a 502's document
// is left out.
func (a *attacker) ask(t *testing.T, secure bool, method, path string) string {
	t.Helper()
	conn, err := a.connect(secure)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n", method, path, gwHost); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return "cut"
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err == nil {
			_, err = in.ReadByte()
			if err == nil {
				return fmt.Sprintf("%d and more behind it", resp.StatusCode)
			}
			err = nil
		}
		switch {
		case err != nil:
			return fmt.Sprintf("%d cut", resp.StatusCode)
		case resp.StatusCode == http.StatusBadGateway:
			return "502"
		case len(body) == 0:
			return strconv.Itoa(resp.StatusCode)
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
}
