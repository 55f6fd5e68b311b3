// Command backend is the service behind the examples of the Gateway API: it echoes WebSocket messages on every path, answers
// /health, and tells of any other request what has come. With -say it is a client instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

func main() {
	address := flag.String("address", "127.0.0.1:9000", "where to listen")
	name := flag.String("name", "backend", "what to answer as")
	say := flag.String("say", "", "be a client: send this `text` to the URL that follows, and print what comes back")
	host := flag.String("host", "", "the Host that the client asks for")
	flag.Parse()
	log.SetFlags(0)
	if *say != "" {
		if err := talk(flag.Arg(0), *host, *say); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Addr: *address, Handler: handler(*name), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// handler serves as name. POST /sick has /health answer 500, POST /well ends that.
func handler(name string) http.Handler {
	var sick atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sick", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	mux.HandleFunc("POST /well", func(http.ResponseWriter, *http.Request) { sick.Store(false) })
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			echo(w, r, name)
			return
		}
		fmt.Fprintf(w, "%s: %s %s, Host %s\n", name, r.Method, r.URL.RequestURI(), r.Host)
		for _, field := range []string{"X-Tenant", "X-Forwarded-For", "X-Forwarded-Proto"} {
			if v := r.Header.Get(field); v != "" {
				fmt.Fprintf(w, "%s: %s\n", field, v)
			}
		}
	})
	return mux
}

// echo sends every message back, the first with the service's name and path before it.
func echo(w http.ResponseWriter, r *http.Request, name string) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // it has been closed, or nobody is there
	prefix := []byte(name + " " + r.URL.Path + ": ")
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, append(prefix, message...)); err != nil {
			return
		}
		prefix = nil
	}
}

// talk sends one message and prints its answer.
func talk(url, host, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, answer, err := websocket.Dial(ctx, url, &websocket.DialOptions{Host: host})
	if err != nil {
		if answer != nil {
			return fmt.Errorf("%s: %s", url, answer.Status)
		}
		return err
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	_, message, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, string(message))
	return conn.Close(websocket.StatusNormalClosure, "")
}
