package proxy

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// TestManyAtOnce has clients of both versions send bodies through rules with everything on, and some give up in the middle: what
// comes back is what was sent, and nothing stays behind.
func TestManyAtOnce(t *testing.T) {
	g := startProgrammable(t)
	echo := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Fail") != "" && rand.IntN(3) == 0 {
			w.WriteHeader(503)
			return
		}
		b := make([]byte, 8<<10)
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(b[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	}
	one, two := g.backend("one", httpService(t, echo), httpService(t, echo)), g.speaking(upstream.H2C, "two", h2Service(t, false, echo), h2Service(t, false, echo))
	guard := g.backend("guard", httpService(t, func(http.ResponseWriter, *http.Request) {}))
	f := route.Filters{Mirrors: []route.Mirror{{Backend: &one, Numerator: 1, Denominator: 4}}, ExternalAuth: &route.ExternalAuth{Backend: &guard}, RequestHeaders: edit}
	addr := g.rules(
		retried(filtered("/all", f, one, two), 2, 503), below("/two", two), below("/one", one),
		keptAt("/kept", route.Persistence{Name: "k", Managed: true}, one, two),
	)
	clients := []*http.Client{httpClient(t, false), httpClient(t, true)}
	paths := []string{"/all", "/two", "/one", "/kept"}
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 20 {
				body := bytes.Repeat([]byte{byte('a' + random.IntN(26))}, 1<<random.IntN(19))
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				give := random.IntN(5) == 0
				if give {
					time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
				}
				r, _ := http.NewRequestWithContext(ctx, "PUT", "http://"+addr+paths[random.IntN(len(paths))], bytes.NewReader(body))
				if random.IntN(2) == 0 {
					r.ContentLength = -1
				}
				r.Header.Set("X-Fail", "1")
				resp, err := clients[random.IntN(2)].Do(r)
				if err == nil {
					var got []byte
					got, err = io.ReadAll(resp.Body)
					resp.Body.Close()
					if err == nil && resp.StatusCode == 200 && !bytes.Equal(got, body) {
						t.Errorf("%s: %d bytes came back of %d", r.URL.Path, len(got), len(body))
					}
				}
				if err != nil && !give {
					t.Errorf("%s, %d bytes: %v", r.URL.Path, len(body), err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
