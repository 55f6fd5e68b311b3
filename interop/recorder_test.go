package interop

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A recorder is a service that notes the requests it gets, byte by byte. It reads as strictly as RFC 9112 allows, so
// whatever a lenient service could take for something else is told in broken.
type recorder struct {
	address string
	answer  func(heard) string // the bytes of an answer; nil: 200, the request as text

	mu     sync.Mutex
	heard  []heard  // guarded by mu
	broken []string // guarded by mu: what no gateway may send
}

// A heard is one request.
type heard struct {
	method, target, body string
	head                 string // as it came, with its empty line
	fields               map[string][]string
	whole                bool // it came to its end
}

// String is method, target and body.
func (h heard) String() string { return strings.TrimSpace(h.method + " " + h.target + " " + h.body) }

// recordingService runs a recorder until the test ends.
func recordingService(t *testing.T, answer func(heard) string) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{address: ln.Addr().String(), answer: answer}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return r
}

// serve reads requests from conn and answers them, until its end.
func (r *recorder) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 1<<16)
	for {
		h, err := readRequest(in, false)
		r.mu.Lock()
		if h.head != "" {
			r.heard = append(r.heard, h)
		}
		var wrong *wrongRequest
		if errors.As(err, &wrong) {
			r.broken = append(r.broken, fmt.Sprintf("%s, in %q", wrong, h.head))
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
		text := ""
		if r.answer != nil {
			text = r.answer(h)
		}
		if text == "" {
			text = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(h.String()))
			if h.method != "HEAD" {
				text += h.String()
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(wait))
		if _, err := io.WriteString(conn, strings.TrimSuffix(text, closes)); err != nil || strings.HasSuffix(text, closes) {
			return
		}
	}
}

// closes at the end of an answer has the connection end behind it.
const closes = "\x00close"

// requests gives what was heard of id, and everything that no gateway may send.
func (r *recorder) requests(id string) (list []heard, broken []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.heard {
		if strings.Contains(h.head, id) {
			list = append(list, h)
		}
	}
	return list, r.broken
}

// A wrongRequest says why a request is not RFC 9112's.
type wrongRequest struct{ reason string }

func (w *wrongRequest) Error() string { return w.reason }

func wrong(format string, args ...any) error { return &wrongRequest{fmt.Sprintf(format, args...)} }

// readRequest reads one request. What it has of a request that breaks off is not whole. A client may also send HTTP/1.0
// and chunk extensions, which a gateway takes away.
func readRequest(in *bufio.Reader, client bool) (heard, error) {
	h := heard{fields: map[string][]string{}}
	line, err := readLine(in, &h.head)
	if err != nil {
		return h, err
	}
	parts := strings.Split(line, " ")
	old := client && len(parts) == 3 && parts[2] == "HTTP/1.0"
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || parts[2] != "HTTP/1.1" && !old {
		return h, wrong("request line %q", line)
	}
	h.method, h.target = parts[0], parts[1]
	for {
		line, err := readLine(in, &h.head)
		if err != nil {
			return h, err
		}
		if line == "" {
			break
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) {
			return h, wrong("field line %q", line)
		}
		key := strings.ToLower(name)
		h.fields[key] = append(h.fields[key], strings.Trim(value, " \t"))
	}
	if n := len(h.fields["host"]); n != 1 && !(old && n == 0) {
		return h, wrong("%d Hosts", n)
	}
	lengths, codings := h.fields["content-length"], h.fields["transfer-encoding"]
	switch {
	case len(lengths)+len(codings) > 1:
		return h, wrong("Content-Length %q and Transfer-Encoding %q", lengths, codings)
	case old && len(codings) > 0, len(codings) == 1 && codings[0] != "chunked":
		return h, wrong("Transfer-Encoding %q in %s", codings[0], parts[2])
	case len(codings) == 1:
		h.body, err = readChunks(in, client)
	case len(lengths) == 1:
		n, nerr := strconv.ParseUint(lengths[0], 10, 40)
		canonical := strconv.FormatUint(n, 10)
		if nerr != nil || canonical != lengths[0] && !(client && canonical == cmp.Or(strings.TrimLeft(lengths[0], "0"), "0")) {
			return h, wrong("Content-Length %q", lengths[0])
		}
		h.body, err = readBytes(in, int64(n))
	}
	h.whole = err == nil
	return h, err
}

// readLine reads a line that ends with CRLF and has no other control byte but tabs. It is added to all.
func readLine(in *bufio.Reader, all *string) (string, error) {
	line, err := in.ReadString('\n')
	*all += line
	if err != nil {
		return "", err
	}
	text, found := strings.CutSuffix(line, "\r\n")
	if !found {
		return "", wrong("line %q without CR", line)
	}
	for _, c := range []byte(text) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", wrong("control byte in %q", line)
		}
	}
	return text, nil
}

func readBytes(in io.Reader, n int64) (string, error) {
	var b strings.Builder
	_, err := io.CopyN(&b, in, n)
	return b.String(), err
}

// readChunks reads a chunked body: RFC 9112, section 7.1.
func readChunks(in *bufio.Reader, client bool) (string, error) {
	var body strings.Builder
	var head string
	for {
		line, err := readLine(in, &head)
		if err != nil {
			return "", err
		}
		if client {
			line, _, _ = strings.Cut(line, ";")
		}
		n, err := strconv.ParseUint(line, 16, 40)
		if err != nil || strings.TrimLeft(strings.ToLower(line), "0123456789abcdef") != "" {
			return "", wrong("chunk size %q", line)
		}
		if n == 0 {
			break
		}
		data, err := readBytes(in, int64(n))
		if err != nil {
			return "", err
		}
		body.WriteString(data)
		if rest, err := readLine(in, &head); err != nil || rest != "" {
			return "", errors.Join(err, wrong("%q behind a chunk", rest))
		}
	}
	for {
		line, err := readLine(in, &head)
		if err != nil || line == "" {
			return body.String(), err
		}
		name, _, found := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "content-length", "transfer-encoding", "host", "authorization", "content-encoding", "content-type", "trailer":
			if !client { // a gateway leaves them out
				return "", wrong("trailer field %q", line)
			}
		}
		if !found || !isToken(name) {
			return "", wrong("trailer field %q", line)
		}
	}
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
