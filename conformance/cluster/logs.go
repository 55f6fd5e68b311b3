package cluster

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// maxLogLines bounds what a pod's log keeps in memory.
const maxLogLines = 50_000

// A podLog takes a pod's output and remembers when each line came. The suite's mirror tests
// count the lines since a given time.
type podLog struct {
	file io.Writer // takes everything too

	mu    sync.Mutex // guards the following
	part  []byte     // a line that has not ended yet
	lines []logLine
}

type logLine struct {
	time time.Time
	text string // without its line end
}

// Write never fails: what a pod says is not worth stopping it for.
func (l *podLog) Write(p []byte) (int, error) {
	_, _ = l.file.Write(p)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.lines = append(l.lines, logLine{now, string(line)})
		l.part = rest
		if len(l.lines) > maxLogLines {
			l.lines = append([]logLine(nil), l.lines[maxLogLines/2:]...)
		}
	}
}

// since returns the lines from that time on, each with its line end.
func (l *podLog) since(t time.Time) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var text bytes.Buffer
	for _, line := range l.lines {
		if !line.time.Before(t) {
			text.WriteString(line.text)
			text.WriteByte('\n')
		}
	}
	return text.Bytes()
}

// serveLogs answers kube-apiserver's requests for logs, as a kubelet does, and returns the port.
// kube-apiserver has been given no authority for kubelets: any certificate does.
func (n *node) serveLogs() (port int32, err error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(nodeAddress, "0"))
	if err != nil {
		return 0, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		p := n.find(r.PathValue("namespace"), r.PathValue("pod"))
		if p == nil {
			http.NotFound(w, r)
			return
		}
		var from time.Time
		if text := r.FormValue("sinceTime"); text != "" {
			var err error
			if from, err = time.Parse(time.RFC3339, text); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		_, _ = w.Write(p.log.since(from))
	})
	n.logs = httptest.NewUnstartedServer(mux)
	_ = n.logs.Listener.Close()
	n.logs.Listener = listener
	n.logs.StartTLS()
	return int32(listener.Addr().(*net.TCPAddr).Port), nil
}
