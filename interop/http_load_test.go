package interop

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	gigabyte = 1 << 30
	// flatMemory is how much the gateway's resident memory may grow, at its highest, while a gigabyte passes.
	flatMemory = 32 << 20
	// idleConnections wait at once, and each may cost the gateway idleBytes.
	idleConnections, idleBytes = 10_000, 2_000
)

// memory reads a line of /proc/PID/status, in bytes: VmRSS is what is resident, VmHWM what was at most.
func (p *process) memory(t *testing.T, line string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+line+":")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); !found || err != nil {
		t.Fatalf("no %s in status: %v", line, err)
	}
	return kib << 10
}

// TestHTTPGigabyte sends a gigabyte up and down, over HTTP/1.1 without and with TLS, and over HTTP/2.
func TestHTTPGigabyte(t *testing.T) {
	g, bases := webGateway(t)
	trust := g.trusted(t)
	for _, tc := range []struct {
		name, base string
		http2      bool
	}{{"HTTP/1.1", bases["plain"], false}, {"HTTP/1.1 and TLS", bases["TLS"], false}, {"HTTP/2", bases["TLS"], true}} {
		protocols := &http.Protocols{}
		protocols.SetHTTP1(!tc.http2)
		protocols.SetHTTP2(tc.http2)
		client := &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{TLSClientConfig: trust.Clone(), Protocols: protocols}}
		for _, way := range []struct {
			name string
			move func() error
		}{
			{"up", func() error { return upload(client, tc.base) }},
			{"down", func() error { return download(client, tc.base) }},
		} {
			t.Run(tc.name+" "+way.name, func(t *testing.T) {
				before, began := g.memory(t, "VmRSS"), time.Now()
				if err := way.move(); err != nil {
					t.Fatal(err)
				}
				grown := g.memory(t, "VmHWM") - before
				t.Logf("%v; memory grew by %d KiB at most", time.Since(began).Round(10*time.Millisecond), grown>>10)
				if grown > flatMemory {
					t.Errorf("memory grew by %d MiB, want at most %d", grown>>20, flatMemory>>20)
				}
			})
		}
		client.CloseIdleConnections()
	}
}

func upload(client *http.Client, base string) error {
	resp, err := client.Post(base+"/web/api/v1/sink", "application/octet-stream", io.LimitReader(pattern{}, gigabyte))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("%d <nil>", gigabyte); err == nil && string(body) != want {
		err = fmt.Errorf("status %d, the service got %.200s, want %s", resp.StatusCode, body, want)
	}
	return err
}

func download(client *http.Client, base string) error {
	resp, err := client.Get(fmt.Sprintf("%s/web/api/v1/bytes/%d", base, gigabyte))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && n != gigabyte {
		err = fmt.Errorf("status %d and %d bytes", resp.StatusCode, n)
	}
	return err
}

// TestHTTPSlowReader: a client that does not read has the gateway stop reading from the service.
func TestHTTPSlowReader(t *testing.T) {
	g, _ := webGateway(t)
	before := g.memory(t, "VmRSS")
	for range 20 {
		conn, err := net.Dial("tcp", g.plain)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /web/api/v1/bytes/%d HTTP/1.1\r\nHost: x\r\n\r\n", gigabyte)
		if _, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := g.get("https://"+g.https+"/web/api/v1/bytes/1000000", nil); err != nil { // others are served meanwhile
		t.Error(err)
	}
	if grown := g.memory(t, "VmHWM") - before; grown > flatMemory {
		t.Errorf("memory grew by %d MiB, want at most %d", grown>>20, flatMemory>>20)
	}
}

// TestHTTPIdleConnections: what a keep-alive connection costs the gateway while it waits for its next request, without
// and with TLS. Memory is looked at when it has settled.
func TestHTTPIdleConnections(t *testing.T) {
	raiseFiles(t)
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) {
			g, _ := webGateway(t)
			trust := g.trusted(t)
			trust.ServerName, trust.NextProtos = "localhost", []string{"http/1.1"}
			n := idleConnections
			if secure {
				n /= 5 // a handshake takes a millisecond
			}
			ask := func(conn net.Conn) error {
				if _, err := io.WriteString(conn, "GET /web/api/v1/bytes/100 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					return err
				}
				resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, resp.Body)
				return err
			}
			open := func() (net.Conn, error) {
				address := g.plain
				if secure {
					address = g.https
				}
				conn, err := net.Dial("tcp", address)
				if err != nil {
					return nil, err
				}
				if secure {
					conn = tls.Client(conn, trust)
				}
				return conn, errors.Join(conn.SetDeadline(time.Now().Add(2*time.Minute)), ask(conn))
			}
			openMany(t, 200, open) // the gateway's own memory settles; these stay, too
			before := settled(t, g.process)
			conns := openMany(t, n, open)
			after := settled(t, g.process)
			each := (after - before) / int64(n)
			t.Logf("%d connections, %d bytes each", n, each)
			if !secure && each > idleBytes {
				t.Errorf("an idle connection takes %d bytes, want at most %d", each, idleBytes)
			}
			for _, conn := range []net.Conn{conns[0], conns[n/2], conns[n-1]} { // they are alive
				if err := ask(conn); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// openMany opens n connections, 32 at a time. They end with the test.
func openMany(t *testing.T, n int, open func() (net.Conn, error)) []net.Conn {
	t.Helper()
	conns, errs := make([]net.Conn, n), make([]error, n)
	t.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	})
	var all sync.WaitGroup
	for w := range 32 {
		all.Go(func() {
			for i := w; i < n; i += 32 {
				conns[i], errs[i] = open()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%.1000v", err)
	}
	return conns
}

// settled is the resident memory of p when it has not shrunk for three seconds.
func settled(t *testing.T, p *process) int64 {
	t.Helper()
	least, since := p.memory(t, "VmRSS"), time.Now()
	_ = poll(30*time.Second, []*process{p}, func() error {
		if now := p.memory(t, "VmRSS"); now < least {
			least, since = now, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return errors.New("it may shrink yet")
		}
		return nil
	})
	return least
}

// raiseFiles lets this process and its children open as many files as it may.
func raiseFiles(t *testing.T) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < idleConnections+1000 {
		t.Skipf("%d files may be open here; %d connections need more", limit.Max, idleConnections)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}

// TestHTTPSlowHead: a head that does not come to its end is cut at its deadline, whatever trickles in. It takes half a
// minute, so it runs where FAIRLEAD_LONG is set.
func TestHTTPSlowHead(t *testing.T) {
	if os.Getenv("FAIRLEAD_LONG") == "" {
		t.Skip("takes half a minute: set FAIRLEAD_LONG")
	}
	g, _ := webGateway(t)
	const deadline = 30 * time.Second
	for _, tc := range []struct{ name, first, more string }{
		{"nothing comes", "", ""},
		{"a byte now and then", "GET /web/api/v1/bytes/1 HTTP/1.1\r\nHost: x\r\nX: ", "a"},
		{"a field now and then", "GET /web/api/v1/bytes/1 HTTP/1.1\r\nHost: x\r\n", "X: a\r\n"},
		{"an empty line now and then", "", "\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", g.plain)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			_ = conn.SetDeadline(began.Add(2 * deadline))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn)
			}()
			_, _ = io.WriteString(conn, tc.first)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for waiting := true; waiting; {
				select {
				case <-tick.C:
					_, _ = io.WriteString(conn, tc.more)
				case <-ended:
					waiting = false
				}
			}
			if took := time.Since(began); took > deadline+10*time.Second {
				t.Errorf("the connection lived for %v, want about %v", took, deadline)
			}
		})
	}
}
