package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// A webService is what the clients of others talk to behind the gateway.
type webService struct {
	release chan struct{} // an event goes out for each
}

func newWebService() *webService { return &webService{release: make(chan struct{}, 8)} }

// ServeHTTP implements http.Handler: /api/echo, /bytes/N, /chunks, /refuse, /events, /release, /sink.
func (s *webService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/")
	size, _ := strconv.ParseInt(strings.TrimPrefix(path, "bytes/"), 10, 64)
	switch {
	case path == "echo":
		s.echo(w, r)
	case strings.HasPrefix(path, "bytes/"):
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		if r.Method != http.MethodHead {
			_, _ = io.CopyN(w, pattern{}, size)
		}
	case path == "sink":
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v", n, err)
	case path == "chunks":
		for _, word := range []string{"one ", "two ", "three "} {
			_, _ = io.WriteString(w, word)
			w.(http.Flusher).Flush()
		}
	case path == "refuse":
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case path == "events":
		s.events(w, r)
	case path == "release":
		s.release <- struct{}{}
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// echo tells what has come, and its sum again in a trailer.
func (s *webService) echo(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	w.Header().Set("Trailer", "X-Sum")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header, "trailers": r.Trailer, "length": n, "sha256": digest,
		"encoding": r.TransferEncoding,
	})
	w.Header().Set("X-Sum", digest)
}

// events sends three server-sent events, each but the first when the client has asked for it.
func (s *webService) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for n := range 3 {
		fmt.Fprintf(w, "data: %d\n\n", n)
		w.(http.Flusher).Flush()
		select {
		case <-s.release:
		case <-r.Context().Done():
			return
		}
	}
}

// pattern is an endless stream of bytes that are easily made.
type pattern struct{}

var patternBlock = bytes.Repeat([]byte("0123456789abcdef"), 4096)

func (pattern) Read(p []byte) (int, error) { return copy(p, patternBlock), nil }
