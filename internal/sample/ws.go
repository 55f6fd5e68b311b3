package sample

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	textLimit = 1 << 20  // bytes of a message to /uppercase and /header
	echoLimit = 64 << 20 // bytes of a message to /echo
	keptBytes = 64 << 10 // of an echo session's buffer between two messages
)

// echoProtocols are the subprotocols of /echo, the preferred one first. A client that offers them the other
// way round sees whether the service or somebody before it has chosen.
var echoProtocols = []string{"echo.v2", "echo.v1"}

// Answer is what /ws/uppercase?instance=1 sends for each message.
type Answer struct {
	Instance string `json:"instance"`
	Text     string `json:"text"`
}

// guard asks for basic credentials, if there are any.
func (s *service) guard(next http.Handler) http.Handler {
	if s.cfg.Basic == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.cfg.Basic)) // hashed, so that the comparison tells no length
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(user + ":" + password))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+s.cfg.ServiceID+`", charset="UTF-8"`)
			http.Error(w, "credentials required", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// login lets a browser ask for the credentials: a page cannot send them with a WebSocket handshake, but the
// browser itself does, once it knows them for this path.
func (s *service) login(w http.ResponseWriter, r *http.Request) {
	page := "../"
	if r.Header.Get("X-Forwarded-Prefix") != "" { // behind a gateway this is .../ws/v1/login
		page = "../../ui/v1/"
	}
	// Not http.Redirect: it would resolve the address against the service's own path.
	w.Header().Set("Location", page)
	w.WriteHeader(http.StatusSeeOther)
}

// accept answers the handshake and counts the session; nil: the request has been answered otherwise.
// The caller leaves with s.server.leave.
func (s *service) accept(w http.ResponseWriter, r *http.Request, limit int64, opts websocket.AcceptOptions) *websocket.Conn {
	if s.server.stopping() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "instance is stopping", http.StatusServiceUnavailable)
		return nil
	}
	// No context takeover: an idle session then keeps no compression window.
	opts.CompressionMode = websocket.CompressionNoContextTakeover
	c, err := websocket.Accept(w, r, &opts)
	if err != nil {
		s.cfg.Log.Debug("handshake refused", "path", r.URL.Path, "err", err)
		return nil
	}
	c.SetReadLimit(limit)
	if !s.server.join(c) {
		return nil
	}
	return c
}

// uppercase answers each message in upper case, and "bye" with a Close after that.
func (s *service) uppercase(w http.ResponseWriter, r *http.Request) {
	c := s.accept(w, r, textLimit, websocket.AcceptOptions{InsecureSkipVerify: true})
	if c == nil {
		return
	}
	defer s.server.leave(c)
	named := r.URL.Query().Get("instance") == "1"
	for {
		kind, message, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			if write(c, kind, upperASCII(message)) != nil {
				return
			}
			continue
		}
		if !utf8.Valid(message) { // RFC 6455, section 8.1
			c.Close(websocket.StatusInvalidFramePayloadData, "text is not UTF-8")
			return
		}
		text := strings.ToUpper(string(message))
		answer := []byte(text)
		if named {
			answer = mustJSON(Answer{Instance: s.cfg.InstanceName, Text: text})
		}
		if write(c, kind, answer) != nil {
			return
		}
		if text == "BYE" {
			c.Close(websocket.StatusNormalClosure, "")
			return
		}
	}
}

// header answers each message with the headers of the handshake.
func (s *service) header(w http.ResponseWriter, r *http.Request) {
	// A foreign Origin is refused with 403: same host and port as Host, or none.
	c := s.accept(w, r, textLimit, websocket.AcceptOptions{})
	if c == nil {
		return
	}
	defer s.server.leave(c)
	answer := []byte(formatHeader(r.Host, r.Header))
	for {
		_, message, err := c.Read(context.Background())
		if err != nil || write(c, websocket.MessageText, answer) != nil {
			return
		}
		if string(message) == "bye" {
			c.Close(websocket.StatusNormalClosure, "")
			return
		}
	}
}

// echo sends every message back as it came, in one frame.
func (s *service) echo(w http.ResponseWriter, r *http.Request) {
	c := s.accept(w, r, echoLimit, websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: echoProtocols})
	if c == nil {
		return
	}
	defer s.server.leave(c)
	var buf bytes.Buffer
	for {
		kind, message, err := c.Reader(context.Background())
		if err != nil {
			return
		}
		if _, err := buf.ReadFrom(message); err != nil {
			return
		}
		if write(c, kind, buf.Bytes()) != nil {
			return
		}
		if buf.Reset(); buf.Cap() > keptBytes {
			buf = bytes.Buffer{}
		}
	}
}

// write sends one message, which the peer must take within writeTimeout; if not, the connection is cut.
func write(c *websocket.Conn, kind websocket.MessageType, message []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return c.Write(ctx, kind, message)
}

// formatHeader writes h as [host:"localhost:10012", x-test:"value"]: lower-case names, host first, the
// others sorted, every value quoted.
func formatHeader(host string, h http.Header) string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := []string{`host:"` + host + `"`}
	for _, name := range names {
		fields = append(fields, strings.ToLower(name)+`:"`+strings.Join(h[name], `", "`)+`"`)
	}
	return "[" + strings.Join(fields, ", ") + "]"
}

// upperASCII changes a-z in place and nothing else, so binary data keeps its length.
func upperASCII(b []byte) []byte {
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return b
}

// mustJSON encodes one of this package's own types, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
