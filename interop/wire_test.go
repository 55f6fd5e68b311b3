package interop

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A wire is the network to one address, which can be cut: what is open then is closed, and nobody gets through until it is mended.
type wire struct {
	ln     net.Listener
	target string // host:port; constant
	wg     sync.WaitGroup

	mu    sync.Mutex // guards the following
	isCut bool
	conns map[net.Conn]bool
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, target: target, conns: map[net.Conn]bool{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() { _ = ln.Close(); w.cut(true); w.wg.Wait() })
	return w
}

// eureka is the address of the Eureka server at the other end.
func (w *wire) eureka() string { return "http://" + w.ln.Addr().String() + "/eureka/" }

func (w *wire) accept() {
	for {
		c, err := w.ln.Accept()
		if err != nil {
			return
		}
		if !w.keep(c) {
			continue
		}
		to, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		if !w.keep(to) {
			continue
		}
		for _, pair := range [][2]net.Conn{{c, to}, {to, c}} {
			w.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}
}

// keep notes a connection, or closes it where the wire is cut.
func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		_ = c.Close()
		return false
	}
	w.conns[c] = true
	return true
}

func (w *wire) cut(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = yes
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}
