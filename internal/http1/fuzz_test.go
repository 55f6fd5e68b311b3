package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The laws that fuzzing holds http1 to. What http1 accepts is written out again as http1 writes it; net/http then accepts it
// and understands the same. There are two exceptions, both because net/http has another job at that place:
//
//   - a 2xx response to CONNECT has no body: http.ReadResponse leaves that to http.Transport, so CONNECT is left out;
//   - net/http knows nothing of empty lines before a request: they are taken away first.
//
// Where net/http is more lenient (obs-fold, bare LF, two Content-Length, …) nothing is asked of it.

// A verdict is what came out of one input.
type verdict uint8

const (
	refused verdict = iota
	agreed          // both accept it and mean the same
)

// A tally counts verdicts, so that fuzzing can be seen to reach behind the first check.
type tally struct{ inputs, agreed int }

// add counts v. With FAIRLEAD_FUZZ_TALLY=FILE it writes the counts to FILE now and then: a fuzzing process has no output.
func (t *tally) add(v verdict) {
	t.inputs++
	if v == agreed {
		t.agreed++
	}
	if file := os.Getenv("FAIRLEAD_FUZZ_TALLY"); file != "" && t.inputs%10_000 == 0 {
		_ = os.WriteFile(file, []byte(t.String()+"\n"), 0o644)
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d inputs, %d accepted by both: %d %%", t.inputs, t.agreed, 100*t.agreed/max(t.inputs, 1))
}

// seeds are choices for a maker, the same on every run.
func seeds(n int) [][]byte {
	r := rand.New(rand.NewPCG(9112, 9110))
	list := [][]byte{{}}
	for range n {
		b := make([]byte, r.IntN(60))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		list = append(list, b)
	}
	return list
}

// fuzz runs check on what the fuzzer makes of the seeds.
func fuzz(f *testing.F, check func(t *testing.T, choices []byte) verdict) {
	for _, s := range seeds(100) {
		f.Add(s)
	}
	var count tally
	f.Fuzz(func(t *testing.T, choices []byte) { count.add(check(t, choices)) })
}

func FuzzRequest(f *testing.F)  { fuzz(f, checkRequest) }
func FuzzResponse(f *testing.F) { fuzz(f, checkResponse) }
func FuzzCursor(f *testing.F)   { fuzz(f, checkCursor) }
func FuzzSplit(f *testing.F)    { fuzz(f, checkSplit) }

// TestLaws runs what fuzzing runs, on inputs that are the same every time, and holds it to its purpose: at least 30 % of
// them are accepted by both sides.
func TestLaws(t *testing.T) {
	for _, law := range []struct {
		name  string
		check func(*testing.T, []byte) verdict
	}{{"request", checkRequest}, {"response", checkResponse}, {"cursor", checkCursor}, {"split", checkSplit}} {
		t.Run(law.name, func(t *testing.T) {
			var count tally
			for _, s := range seeds(5000) {
				count.add(law.check(t, s))
				if t.Failed() {
					break
				}
			}
			t.Log(&count)
			if count.agreed*100 < count.inputs*30 {
				t.Errorf("%v: under 30 %%, the inputs do not reach far enough", &count)
			}
		})
	}
}

// refusal checks an error for what every error is.
func refusal(t *testing.T, err error, raw string, statuses ...int) verdict {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !slices.Contains(statuses, e.Status) || e.Reason == "" {
		t.Errorf("%q: error %#v", raw, err)
	}
	return refused
}

func checkRequest(t *testing.T, choices []byte) verdict {
	m := maker{choices}
	raw, _, _ := m.request()
	var r Request
	if err := ParseRequest(raw, &r); err != nil {
		return refusal(t, err, raw, 400, 417, 431, 501, 505)
	}
	if end, ok := HeadEnd([]byte(raw), 0); !ok || end != len(raw) {
		t.Fatalf("HeadEnd(%q) = %d, %v of an accepted head", raw, end, ok)
	}
	again := r.Fields.Append(AppendRequestLine(nil, r.Method, r.Target))
	again = append(again, "\r\n"...)
	if r.Minor == 0 {
		again = bytes.Replace(again, []byte("HTTP/1.1\r\n"), []byte("HTTP/1.0\r\n"), 1)
	}
	for _, text := range []string{raw[emptyLines(raw):], string(again)} {
		got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			t.Fatalf("net/http refuses %q, which came as %q: %v", text, raw, err)
		}
		compareRequest(t, text, &r, got)
	}
	return agreed
}

func compareRequest(t *testing.T, text string, r *Request, got *http.Request) {
	t.Helper()
	length, codings := wantFraming(r.Body)
	for _, c := range []struct {
		what      string
		ours, net any
	}{
		{"method", r.Method, got.Method},
		{"target", r.Target, got.RequestURI},
		{"host", r.Host, got.Host},
		{"minor", r.Minor, got.ProtoMinor},
		{"close", r.Close, got.Close},
		{"length", length, got.ContentLength},
		{"codings", codings, got.TransferEncoding},
		{"fields", wantHeader(r.Fields, r.Body.Kind == Chunked), got.Header},
	} {
		if !reflect.DeepEqual(c.ours, c.net) {
			t.Errorf("%q: %s: http1 %#v, net/http %#v", text, c.what, c.ours, c.net)
		}
	}
	if r.Scheme == "" && r.Method != "CONNECT" && r.PathQuery != r.Target || !strings.HasSuffix(r.Target, strings.TrimLeft(r.PathQuery, "/*")) {
		t.Errorf("%q: path and query %q", text, r.PathQuery)
	}
}

// wantFraming returns what net/http says for a framing.
func wantFraming(f Framing) (length int64, codings []string) {
	switch f.Kind {
	case Length:
		return f.Length, nil
	case Chunked:
		return -1, []string{"chunked"}
	case UntilClose:
		return -1, nil
	}
	return 0, nil
}

// wantHeader returns the header that net/http makes of fields: canonical names, without Host (of a
// request), Transfer-Encoding and (in a chunked
// message) Trailer, and with what Pragma means.
func wantHeader(fields Fields, chunked bool) http.Header {
	h := http.Header{}
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	h.Del("Host")
	h.Del("Transfer-Encoding")
	if chunked {
		h.Del("Trailer")
	}
	if p := h["Pragma"]; len(p) > 0 && p[0] == "no-cache" && h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-cache"}
	}
	return h
}

func checkResponse(t *testing.T, choices []byte) verdict {
	m := maker{choices}
	method := m.pick([]string{"GET", "HEAD"}, nil)
	raw := m.response()
	var r Response
	if err := ParseResponse(raw, method, &r); err != nil {
		return refusal(t, err, raw, 502)
	}
	if end, ok := HeadEnd([]byte(raw), 0); !ok || end != len(raw) {
		t.Fatalf("HeadEnd(%q) = %d, %v of an accepted head", raw, end, ok)
	}
	again := r.Fields.Append(AppendStatusLine(nil, r.Status, r.Reason))
	again = append(again, "\r\n"...)
	if r.Minor == 0 {
		again = bytes.Replace(again, []byte("HTTP/1.1 "), []byte("HTTP/1.0 "), 1)
	}
	for _, text := range []string{raw, string(again)} {
		got, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses %q, which came as %q: %v", text, raw, err)
		}
		compareResponse(t, text, method, &r, got)
	}
	return agreed
}

func compareResponse(t *testing.T, text, method string, r *Response, got *http.Response) {
	t.Helper()
	length, codings := wantFraming(r.Body)
	header := wantHeader(r.Fields, r.Fields.Has("Transfer-Encoding"))
	if hosts := r.Fields.Values("Host"); hosts != nil {
		header["Host"] = hosts
	}
	if r.Body.Kind == NoBody {
		// Of a response that has no body net/http tells what its fields announce: Length of HEAD, codings always.
		if method == "HEAD" {
			length = -1
			if v := r.Fields.Get("Content-Length"); v != "" {
				length, _ = strconv.ParseInt(v, 10, 64)
			}
		}
		if r.Fields.Has("Transfer-Encoding") {
			codings = []string{"chunked"}
			if method == "HEAD" {
				length = -1
			}
		}
	}
	if r.Minor > 0 && r.Fields.HasToken("Connection", "close") {
		header.Del("Connection") // net/http moves it to Close
	}
	for _, c := range []struct {
		what      string
		ours, net any
	}{
		{"status", strings.TrimLeft(fmt.Sprintf("%03d %s", r.Status, r.Reason), " "), fmt.Sprintf("%-4s", got.Status)},
		{"code", r.Status, got.StatusCode},
		{"minor", r.Minor, got.ProtoMinor},
		{"close", r.Close, got.Close},
		{"length", length, got.ContentLength},
		{"codings", codings, got.TransferEncoding},
		{"fields", header, got.Header},
	} {
		if !reflect.DeepEqual(c.ours, c.net) {
			t.Errorf("%s %q: %s: http1 %#v, net/http %#v", method, text, c.what, c.ours, c.net)
		}
	}
}

// follow passes p through a Cursor, cut where cut says, and returns the content, the bytes that belong to the body, and
// whether it is complete.
func follow(c *Cursor, p []byte, cut func(left int) int) (content []byte, used int, done bool, err error) {
	for {
		n := cut(len(p) - used)
		for part := p[used : used+n]; ; {
			piece, n, err := c.Next(part)
			if piece == Data {
				content = append(content, part[:n]...)
			}
			part, used = part[n:], used+n
			switch {
			case err != nil:
				return content, used, false, err
			case piece == End:
				return content, used, true, nil
			case piece == None && used == len(p):
				return content, used, false, nil
			}
			if piece == None {
				break
			}
		}
	}
}

// whole does not cut.
func whole(left int) int { return left }

func checkCursor(t *testing.T, choices []byte) verdict {
	m := maker{choices}
	body := m.chunks()
	cursor := NewCursor(Framing{Kind: Chunked})
	content, used, done, err := follow(&cursor, []byte(body), whole)

	br := bufio.NewReaderSize(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+body), 64<<10)
	req, netErr := http.ReadRequest(br)
	if netErr != nil {
		t.Fatal(netErr)
	}
	netContent, netErr := io.ReadAll(req.Body)
	if err != nil {
		return refusal(t, err, body, 400, 431)
	}
	if !done {
		if netErr == nil || cursor.EOF() == nil {
			t.Errorf("%q: http1 waits for more (EOF: %v), net/http has %q", body, cursor.EOF(), netContent)
		}
		return refused
	}
	if netErr != nil {
		t.Fatalf("net/http refuses %q: %v", body, netErr)
	}
	rest, _ := io.ReadAll(br)
	trailer := http.Header{}
	for _, f := range cursor.Trailers() {
		trailer.Add(f.Name, f.Value)
	}
	maps.DeleteFunc(req.Trailer, func(name string, _ []string) bool { return ForbiddenTrailer(name) })
	switch {
	case !bytes.Equal(content, netContent):
		t.Errorf("%q: content: http1 %q, net/http %q", body, content, netContent)
	case body[used:] != string(rest):
		t.Errorf("%q: behind the body: http1 %q, net/http %q", body, body[used:], rest)
	case len(trailer)+len(req.Trailer) > 0 && !reflect.DeepEqual(trailer, req.Trailer):
		t.Errorf("%q: trailers: http1 %v, net/http %v", body, trailer, req.Trailer)
	}
	return agreed
}

// transcript reads a stream of requests that arrives as cut says, and tells all that came out of it.
func transcript(stream []byte, cut func(left int) int) (lines []string, messages int) {
	var buf []byte
	seen := 0
	arrive := func() bool {
		n := cut(len(stream))
		buf, stream = append(buf, stream[:n]...), stream[n:]
		return n > 0
	}
	for {
		end, ok := HeadEnd(buf, seen)
		if !ok {
			seen = len(buf)
			if !arrive() {
				return append(lines, fmt.Sprintf("left %q", buf)), messages
			}
			continue
		}
		var r Request
		if err := ParseRequest(string(buf[:end]), &r); err != nil {
			return append(lines, fmt.Sprintf("%d: %v", end, err)), messages
		}
		buf, seen = buf[end:], 0
		lines = append(lines, fmt.Sprintf("%+v", r))
		cursor := NewCursor(r.Body)
		var content []byte
		for {
			piece, n, err := cursor.Next(buf)
			if piece == Data {
				content = append(content, buf[:n]...)
			}
			buf = buf[n:]
			if err != nil {
				return append(lines, fmt.Sprintf("%q %v", content, err)), messages
			}
			if piece == End {
				break
			}
			if piece == None && !arrive() {
				return append(lines, fmt.Sprintf("%q %v", content, cursor.EOF())), messages
			}
		}
		lines = append(lines, fmt.Sprintf("%q %v", content, cursor.Trailers()))
		messages++
	}
}

// checkSplit holds a stream of messages to: what comes out does not depend on how it was cut. Agreed are streams with a
// whole message at least.
func checkSplit(t *testing.T, choices []byte) verdict {
	m := maker{choices}
	var stream []byte
	for range 1 + m.next()%3 {
		head, kind, length := m.request()
		stream = append(stream, head...)
		switch kind {
		case Length:
			stream = append(stream, strings.Repeat("b", length)...)
		case Chunked:
			stream = append(stream, strings.TrimSuffix(m.chunks(), "GET / HTTP/1.1\r\n")...)
		}
	}
	want, messages := transcript(stream, whole)
	random := rand.New(rand.NewPCG(uint64(len(choices)), uint64(m.next())))
	for name, cut := range map[string]func(int) int{
		"bytes":  func(left int) int { return min(1, left) },
		"random": func(left int) int { return min(1+random.IntN(20), left) },
	} {
		if got, _ := transcript(stream, cut); !slices.Equal(got, want) {
			t.Errorf("%q cut in %s:\n%q\nwhole:\n%q", stream, name, got, want)
		}
	}
	if messages == 0 {
		return refused
	}
	return agreed
}
