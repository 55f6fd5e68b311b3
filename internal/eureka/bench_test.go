package eureka

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// benchServer in the environment makes the test binary a registry with 100 instances: the reader of a benchmark
// is another process, so that the registry's own CPU time can be told. Its value is the certificate's PEM file.
const benchServer = "FAIRLEAD_EUREKA_BENCH_SERVER"

// filled is a registry with n instances such as services register.
func filled(n int) *Registry {
	r := NewRegistry(Config{}, quiet())
	for i := range n {
		app := fmt.Sprint("service", i/4)
		d := doc(app, fmt.Sprintf("host%d:%s:10012", i, app), `,"homePageUrl":"https://host/ui","statusPageUrl":"https://host/application/info",
"healthCheckUrl":"https://host/application/health","metadata":{"apiml.routes.ws-v1.gatewayUrl":"ws/v1","apiml.routes.ws-v1.serviceUrl":"/`+app+`/ws",
"apiml.routes.api-v1.gatewayUrl":"api/v1","apiml.routes.api-v1.serviceUrl":"/`+app+`/api","apiml.service.title":"A service","management.port":"10012"}`)
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/eureka/apps/"+app, strings.NewReader(d)))
		if w.Code != http.StatusNoContent {
			panic(w.Body.String())
		}
	}
	return r
}

// serveBenchmark is the other process: it prints its address and serves until its input ends.
func serveBenchmark() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	pair, err := tls.LoadX509KeyPair(os.Getenv(benchServer), os.Getenv(benchServer))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	fmt.Println(ln.Addr())
	if err := Serve(ctx, ln, filled(100).Handler(), &tls.Config{Certificates: []tls.Certificate{pair}}, ServeOptions{}); err != nil {
		panic(err)
	}
}

// BenchmarkPolling is 25 clients that each read the whole registry of 100 instances every 5 ms, as the Node.js
// enabler does: 5,000 reads a second over real connections. It reports the CPU time of the registry's process,
// in cores of one, and in microseconds a read; b.N is reads.
func BenchmarkPolling(b *testing.B) {
	for _, bb := range []struct {
		name, scheme, encoding string
	}{{"plain", "http", ""}, {"gzip", "http", "gzip"}, {"tls", "https", ""}} {
		b.Run(bb.name, func(b *testing.B) { poll(b, bb.scheme, bb.encoding) })
	}
}

func poll(b *testing.B, scheme, encoding string) {
	const clients, every = 25, 5 * time.Millisecond
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"="+benchCertificate(b))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	url := scheme + "://" + strings.TrimSpace(addr) + "/eureka/apps/"
	size := 0
	b.ResetTimer()
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			tr := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the peer is our child
			defer tr.CloseIdleConnections()
			tick := time.NewTicker(every)
			defer tick.Stop()
			for range (b.N + n) / clients {
				<-tick.C
				req, _ := http.NewRequest("GET", url, nil)
				req.Header.Set("Accept", "application/json")
				req.Header.Set("Accept-Encoding", encoding)
				resp, err := tr.RoundTrip(req)
				if err != nil {
					b.Error(err)
					return
				}
				got, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Errorf("%d %v", resp.StatusCode, err)
					return
				}
				if n == clients-1 {
					size = int(got)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	wall := b.Elapsed()
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	b.ReportMetric(float64(b.N)/wall.Seconds(), "reads/s")
	b.ReportMetric(cpu.Seconds()/wall.Seconds(), "server-cores")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "server-µs/read")
	b.ReportMetric(float64(size), "bytes/read")
}

// BenchmarkChange is what the first read after a change costs: the view and the answer are built anew.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := filled(n)
			for b.Loop() {
				r.view.Store(nil)
				r.snapshot().answer(answerKey{what: allApps, json: true})
			}
		})
	}
}
