package sample

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"
)

const (
	echoBody      = 1 << 30 // bytes of a POST to /api/v1/echo
	maxEvents     = 3600    // of one event stream
	minInterval   = 10 * time.Millisecond
	eventInterval = time.Second
)

//go:embed web
var web embed.FS

// pagePolicy lets the page load its own files and talk to its own host, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// service answers the requests of one run of an instance.
type service struct {
	cfg    *Config
	server *server
}

// newService returns the sample service's handler.
func newService(cfg *Config, server *server) http.Handler {
	s := &service{cfg: cfg, server: server}
	root := "/" + cfg.ServiceID
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"uppercase": s.uppercase, "header": s.header, "chat": s.chat, "echo": s.echo, "login": s.login,
	} {
		mux.Handle("GET "+root+"/ws/"+path, s.guard(h))
	}
	mux.Handle("GET "+root+"/ws/", s.guard(http.NotFoundHandler()))

	mux.HandleFunc("GET "+root+"/api/v1/ws", s.hello)
	mux.HandleFunc("GET "+root+"/api/v1/sse", s.hello)
	mux.HandleFunc("GET "+root+"/api/v1/greeting", s.greeting)
	mux.HandleFunc("POST "+root+"/api/v1/echo", s.echoBody)
	mux.HandleFunc("GET "+root+"/events", s.events)
	mux.HandleFunc("GET "+root+"/application/info", s.info)
	mux.HandleFunc("GET "+root+"/application/health", s.health)
	mux.Handle("GET "+root+"/", page(root))
	return named(cfg.InstanceName, mux)
}

// named puts the instance's name into every answer.
func named(instance string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Instance", instance)
		next.ServeHTTP(w, r)
	})
}

// page serves the files of the page below root.
func page(root string) http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the name is part of the binary
	}
	next := http.StripPrefix(root, http.FileServerFS(files))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

type greeting struct {
	Date    time.Time `json:"date"`
	Content string    `json:"content"`
}

func (s *service) hello(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, greeting{time.Now().UTC(), "Hello, Web service!"})
}

func (s *service) greeting(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if name == "" {
		name = "world"
	}
	answerJSON(w, http.StatusOK, greeting{time.Now().UTC(), "Hello, " + name + "!"})
}

func (s *service) info(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, map[string]string{"service": s.cfg.ServiceID, "instance": s.cfg.InstanceName})
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	if s.server.stopping() {
		answerJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "OUT_OF_SERVICE"})
		return
	}
	answerJSON(w, http.StatusOK, map[string]string{"status": "UP"})
}

// echoBody sends the body back while it still arrives. The peer must take and give something every writeTimeout.
func (s *service) echoBody(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if kind := r.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	w.Header().Set("Trailer", "X-Echo-Bytes")
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // net/http leaves it for the connection's next request
	body := http.MaxBytesReader(w, r.Body, echoBody)
	buf := make([]byte, 32<<10)
	var total int64
	for {
		_ = rc.SetReadDeadline(time.Now().Add(6 * writeTimeout))
		n, err := body.Read(buf)
		if n > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := w.Write(buf[:n]); err != nil || rc.Flush() != nil {
				return
			}
			total += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler) // too long or cut: an answer that ends well would hide it
		}
	}
	_ = rc.SetReadDeadline(time.Time{})
	w.Header().Set("X-Echo-Bytes", strconv.FormatInt(total, 10))
}

// events streams server-sent events until ?count= of them are sent (an hour's at most), the client goes,
// or the instance stops. ?interval= is the pause between two, as in 250ms.
func (s *service) events(w http.ResponseWriter, r *http.Request) {
	count, interval := maxEvents, eventInterval
	if text := r.URL.Query().Get("count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxEvents {
			http.Error(w, fmt.Sprintf("count: a number from 1 to %d", maxEvents), http.StatusBadRequest)
			return
		}
		count = n
	}
	if text := r.URL.Query().Get("interval"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < minInterval || d > time.Minute {
			http.Error(w, "interval: a duration from 10ms to 1m", http.StatusBadRequest)
			return
		}
		interval = d
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }() // net/http leaves it for the connection's next request
	for i := range count {
		if i > 0 && sleep(r.Context(), interval) != nil {
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := fmt.Fprintf(w, "id: %d\ndata: event\n\n", i+1); err != nil || rc.Flush() != nil {
			return
		}
	}
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}
