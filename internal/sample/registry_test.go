package sample_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/sample"
)

// TestEmbeddedRegistry registers with Fairlead's own registry: what it then knows is what routes are made of.
func TestEmbeddedRegistry(t *testing.T) {
	registry := eureka.NewRegistry(eureka.Config{}, slog.New(slog.DiscardHandler))
	srv := httptest.NewServer(registry.Handler())
	t.Cleanup(srv.Close)
	i := sample.New(sample.Config{Registry: srv.URL + "/eureka", Heartbeat: 20 * time.Millisecond})
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := registry.Instances()
	if len(known) != 1 {
		t.Fatalf("%d instances, want 1", len(known))
	}
	in := known[0]
	if in.ServiceID() != sample.DefaultServiceID || in.ID != i.ID() || in.Secure() || in.Status != "UP" ||
		in.Metadata["apiml.routes.ws_v1.serviceUrl"] != "/discoverableclient/ws" {
		t.Errorf("the registry has %+v", in)
	}

	// Somebody else removes it: the next heartbeat is 404, and it comes back.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodDelete, srv.URL+"/eureka/apps/DISCOVERABLECLIENT/"+i.ID(), http.NoBody)
	resp, err := srv.Client().Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	for deadline := time.After(10 * time.Second); len(registry.Instances()) == 0; {
		select {
		case <-registry.Changed():
		case <-deadline:
			t.Fatal("it did not register again")
		}
	}
	if err := i.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := registry.Instances(); len(left) != 0 {
		t.Errorf("%d instances are left", len(left))
	}
}
