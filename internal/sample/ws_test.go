package sample

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func asClose(err error, into *websocket.CloseError) bool { return errors.As(err, into) }

func TestUppercase(t *testing.T) {
	i := start(t, Config{InstanceName: "two"})
	c, resp := dial(t, i, "/uppercase", nil)
	if got := resp.Header.Get("X-Instance"); got != "two" {
		t.Errorf("X-Instance is %q, want two", got)
	}
	for text, want := range map[string]string{
		"hello world!": "HELLO WORLD!", "": "", "bye bye": "BYE BYE", "größe \u0000 κύμα": "GRÖßE \u0000 ΚΎΜΑ",
	} {
		sendText(t, c, text)
		if got := readText(t, c); got != want {
			t.Errorf("%q is answered %q, want %q", text, got, want)
		}
	}
	if err := c.Write(wait(t), websocket.MessageBinary, []byte("abc\xff\x00z{`")); err != nil {
		t.Fatal(err)
	}
	kind, got, err := c.Read(wait(t))
	if err != nil || kind != websocket.MessageBinary || string(got) != "ABC\xff\x00Z{`" {
		t.Errorf("binary is answered %v %q %v", kind, got, err)
	}
	sendText(t, c, "Bye")
	if got := readText(t, c); got != "BYE" {
		t.Errorf("Bye is answered %q", got)
	}
	wantClose(t, c, websocket.StatusNormalClosure, "")
}

func TestUppercaseNamesInstance(t *testing.T) {
	i := start(t, Config{InstanceName: "two"})
	c, _ := dial(t, i, "/uppercase?instance=1", nil)
	sendText(t, c, `a "b"`)
	if got, want := decode[Answer](t, readText(t, c)), (Answer{"two", `A "B"`}); got != want {
		t.Errorf("answer %+v, want %+v", got, want)
	}
}

func TestBadMessages(t *testing.T) {
	i := start(t, Config{})
	c, _ := dial(t, i, "/uppercase", nil)
	if err := c.Write(wait(t), websocket.MessageText, []byte("\xff")); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, websocket.StatusInvalidFramePayloadData, "text is not UTF-8")

	c, _ = dial(t, i, "/uppercase", nil)
	if err := c.Write(wait(t), websocket.MessageText, make([]byte, textLimit+1)); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Read(wait(t))
	if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("too big: %v, want close 1009", err)
	}
}

// TestByeOnTheWire holds the Close to the byte: 1000, no reason, and after the answer.
func TestByeOnTheWire(t *testing.T) {
	i := start(t, Config{})
	c, err := net.Dial("tcp", i.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "GET /discoverableclient/ws/uppercase HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x83\x00\x00\x00\x00bye")
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(br, got); err != nil {
		t.Fatal(err)
	}
	if want := "\x81\x03BYE\x88\x02\x03\xe8"; string(got) != want {
		t.Errorf("frames % x, want % x", got, want)
	}
	_, _ = io.WriteString(c, "\x88\x82\x00\x00\x00\x00\x03\xe8")
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		t.Errorf("after the Close came % x, %v", rest, err)
	}
}

func TestHeader(t *testing.T) {
	i := start(t, Config{})
	big := strings.Repeat("x", 3000)
	c, _ := dial(t, i, "/header", &websocket.DialOptions{HTTPHeader: http.Header{
		"X-Test": {"value"}, "X-Two": {"a", "b"}, "Cookie": {"apimlAuthenticationToken=t0ken"},
		"X-Test-0": {big}, "X-Test-1": {big}, "X-Test-2": {big},
	}})
	sendText(t, c, "anything")
	got := readText(t, c)
	if !strings.HasPrefix(got, `[host:"`+i.Address()+`", `) || !strings.HasSuffix(got, "]") {
		t.Errorf("reply %.60q... is not in the form [host:\"...\", ...]", got)
	}
	for _, want := range []string{`, x-test:"value"`, `, x-two:"a", "b"`, `cookie:"apimlAuthenticationToken=t0ken"`, `x-test-2:"` + big} {
		if !strings.Contains(got, want) {
			t.Errorf("reply lacks %.40q", want)
		}
	}
	sendText(t, c, "BYE") // only "bye" is the end
	readText(t, c)
	sendText(t, c, "bye")
	if again := readText(t, c); again != got {
		t.Errorf("bye is answered %.60q, want the headers", again)
	}
	wantClose(t, c, websocket.StatusNormalClosure, "")
}

func TestHeaderOrigin(t *testing.T) {
	i := start(t, Config{})
	for origin, status := range map[string]int{
		"https://evil.example": 403, "http://127.0.0.1:1": 403, "null": 403,
		"http://" + i.Address(): 101, "": 101,
	} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		c, resp, err := websocket.Dial(wait(t), i.URL("/ws/header"), &websocket.DialOptions{HTTPHeader: h})
		if err == nil {
			_ = c.CloseNow()
		}
		if resp == nil || resp.StatusCode != status {
			t.Errorf("Origin %q: %v, %v, want %d", origin, resp, err, status)
		}
	}
	dial(t, i, "/uppercase", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
}

func TestEcho(t *testing.T) {
	i := start(t, Config{})
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover} {
		c, resp := dial(t, i, "/echo", &websocket.DialOptions{CompressionMode: mode, Subprotocols: []string{"echo.v1", "echo.v2"}})
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != (mode != websocket.CompressionDisabled) {
			t.Errorf("mode %v: extensions %q", mode, got)
		}
		if c.Subprotocol() != "echo.v2" {
			t.Errorf("subprotocol %q, want the service's choice echo.v2", c.Subprotocol())
		}
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 3 << 20} {
			for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				want := bytes.Repeat([]byte("echo "), size/5+1)[:size]
				if err := c.Write(wait(t), kind, want); err != nil {
					t.Fatal(err)
				}
				if k, got, err := c.Read(wait(t)); err != nil || k != kind || !bytes.Equal(got, want) {
					t.Fatalf("%v of %d bytes came back as %v of %d, %v", kind, size, k, len(got), err)
				}
			}
		}
	}
}

func TestBasic(t *testing.T) {
	i := start(t, Config{Basic: "user:pass"})
	for name, tc := range map[string]struct {
		user, password string
		status         int
	}{"none": {"", "", 401}, "wrong": {"user", "invalidPass", 401}, "right": {"user", "pass", 101}} {
		req, _ := http.NewRequest(http.MethodGet, "http://x", http.NoBody)
		if tc.user != "" {
			req.SetBasicAuth(tc.user, tc.password)
		}
		c, resp, err := websocket.Dial(wait(t), i.URL("/ws/uppercase"), &websocket.DialOptions{HTTPHeader: req.Header})
		if err == nil {
			_ = c.CloseNow()
		}
		if resp.StatusCode != tc.status || (resp.Header.Get("WWW-Authenticate") != "") != (tc.status == 401) {
			t.Errorf("%s: status %d, %v", name, resp.StatusCode, resp.Header)
		}
	}
	for path, status := range map[string]int{"/ws/unknown": 401, "/ws/login": 401, "/api/v1/ws": 200, "/": 200, "/application/health": 200} {
		if resp, _ := get(t, i.URL(path)); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, status)
		}
	}
	auth := http.Header{"Authorization": {"Basic dXNlcjpwYXNz"}}
	if resp, _ := do(t, http.MethodGet, i.URL("/ws/login"), auth, ""); resp.StatusCode != 303 || resp.Header.Get("Location") != "../" {
		t.Errorf("login: %d, %v", resp.StatusCode, resp.Header)
	}
	auth.Set("X-Forwarded-Prefix", "/discoverableclient/ws/v1")
	if resp, _ := do(t, http.MethodGet, i.URL("/ws/login"), auth, ""); resp.Header.Get("Location") != "../../ui/v1/" {
		t.Errorf("login behind a gateway: %v", resp.Header)
	}
}

func TestNotWebSocket(t *testing.T) {
	i := start(t, Config{})
	for path, status := range map[string]int{"/ws/uppercase": 426, "/ws/bad": 404, "/ws/": 404} {
		if resp, _ := get(t, i.URL(path)); resp.StatusCode != status {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, status)
		}
	}
	_, resp, err := websocket.Dial(wait(t), i.URL("/ws/bad"), nil)
	if err == nil || resp.StatusCode != 404 {
		t.Errorf("handshake with /ws/bad: %v, %v, want 404", resp, err)
	}
}
