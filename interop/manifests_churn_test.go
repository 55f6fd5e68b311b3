package interop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Routes, endpoints and the certificate change all the time, while clients ask and sessions come, go and stay: no request and no
// session fails, none has another's answer, and those that stay are at one service throughout.
func TestGatewayChurn(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.echo("two")
	m.write("gateway.yaml", changingGateway)
	made, err := os.ReadFile(filepath.Join(m.dir, "made.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// Service two has now one and now another endpoint.
	first, second := m.echoes["two"].address, startEcho(t, "two", nil).address
	write := func(i int) {
		if i%4 == 0 {
			m.write("made.yaml", strings.ReplaceAll(string(made), "port: "+portOf(first), "port: "+portOf([]string{first, second}[i/4%2])))
		}
		m.values["TO"] = []string{"one", "two"}[i%2]
		m.write("route.yaml", strings.Replace(changingRoute, "rules:", fmt.Sprintf("hostnames: [site.example, n%d.example]\n  rules:", i), 1))
		m.write("certificate.yaml", m.ca.issue(t, "site.example").secret("site"))
	}
	write(0)
	m.start("80", "443")
	kept := []*echoSession{m.open(t, "http://site.example/"), m.open(t, "https://site.example/")}

	var asked, opened atomic.Int64
	var services sync.Map
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	client := func(scheme string, n int) {
		for i := 0; ctx.Err() == nil; i++ {
			path := fmt.Sprintf("/%d/%d", n, i)
			a, err := tryAsk(context.Background(), m.client, http.MethodPost, scheme+"://site.example"+path, path)
			if err != nil || a.StatusCode != http.StatusOK || a.saw.URI != path || a.saw.Body != path {
				t.Errorf("%s: %v, %+v", path, err, a)
				return
			}
			services.Store(a.saw.Service, true)
			asked.Add(1)
		}
	}
	sessions := func(scheme string) {
		for ctx.Err() == nil {
			conn, _, err := m.handshake(t, scheme+"://site.example/")
			if err != nil {
				t.Errorf("a handshake: %v", err)
				return
			}
			s := &session{t, conn}
			if _, err := s.read(); err != nil {
				t.Errorf("a session: %v", err)
				return
			}
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("its end: %v", err)
			}
			opened.Add(1)
		}
	}
	for i, scheme := range []string{"http", "https"} {
		wg.Go(func() { client(scheme, 2*i) })
		wg.Go(func() { client(scheme, 2*i+1) })
		wg.Go(func() { sessions(scheme) })
	}
	for i := 1; i <= 12; i++ {
		write(i)
		m.eventually(t, fmt.Sprintf("http://n%d.example/", i), fmt.Sprintf("change %d", i), func(a *answerOf) bool {
			return a.StatusCode == http.StatusOK
		})
		for _, s := range kept {
			s.ask("still here", "still here")
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d requests and %d sessions during 12 changes", asked.Load(), opened.Load())
	for _, name := range []string{"one", "two"} {
		if _, ok := services.Load(name); !ok {
			t.Errorf("%s was never asked", name)
		}
	}
}

// A volume of Kubernetes changes by a link that is turned to another directory.
func TestGatewayMountedVolume(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.echo("two")
	m.object(m.ca.issue(t, "site.example").secret("site"))
	m.write("gateway.yaml", changingGateway)
	volume := func(version, to string) {
		m.values["TO"] = to
		writeFile(t, filepath.Join(m.dir, version, "route.yaml"), m.filled(changingRoute))
		link := filepath.Join(m.dir, "..data_tmp")
		if err := os.Symlink(version, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(m.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	volume("..2026_01", "one")
	if err := os.Symlink("..data/route.yaml", filepath.Join(m.dir, "route.yaml")); err != nil {
		t.Fatal(err)
	}
	m.start("80")
	m.serves(t, "http://any.example/", "one")
	volume("..2026_02", "two")
	if err := os.RemoveAll(filepath.Join(m.dir, "..2026_01")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m.eventually(t, "http://any.example/", "the other directory", func(a *answerOf) bool { return a.saw.Service == "two" })
	t.Logf("live after %v", time.Since(began).Round(time.Millisecond))
}
