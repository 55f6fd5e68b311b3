package sample

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestControl(t *testing.T) {
	reg := newRegistry(t, nil)
	one := start(t, Config{InstanceName: "one"})
	two := start(t, Config{InstanceName: "two"})
	c := NewControl(Config{Registry: reg.URL}, one, two)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, c.Instance)
	if body := string(reg.next(t).Body); !strings.Contains(body, `"apiml.routes.api_v1.serviceUrl":"/demo/api/v1"`) ||
		!strings.Contains(body, `"apiml.routes.ui_v1.serviceUrl":"/demo"`) || !strings.Contains(body, `"app":"demo"`) {
		t.Errorf("registration %s", body)
	}
	session, _ := dial(t, one, "/uppercase", nil)
	// The 101 leaves before the session is counted; an answer comes after.
	if err := session.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := session.Read(t.Context()); err != nil {
		t.Fatal(err)
	}

	list := c.URL("/api/v1/instances")
	want := func(body, want string) {
		t.Helper()
		got := ""
		for _, i := range decode[[]InstanceStatus](t, body) {
			got += i.Name + " " + string(i.State) + " "
		}
		if got != want {
			t.Errorf("instances: %s, want %s", got, want)
		}
	}
	_, body := get(t, list)
	want(body, "one running two running ")
	if got := decode[[]InstanceStatus](t, body)[0].Sessions; got != 1 {
		t.Errorf("%d sessions on one, want 1", got)
	}
	ended := make(chan error, 1)
	go func() {
		_, _, err := session.Read(context.Background())
		ended <- err
	}()
	_, body = do(t, "POST", list+"/one/stop", nil, "")
	want(body, "one stopped two running ")
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the session ended with %v, want close 1001", err)
	}
	_, body = do(t, "POST", list+"/two/stop", nil, "") // the last one too
	want(body, "one stopped two stopped ")
	_, body = do(t, "POST", list+"/one/start", nil, "")
	want(body, "one running two stopped ")

	host := c.Address()
	for name, tc := range map[string]struct {
		method, path string
		header       http.Header
		status       int
	}{
		"foreign origin":    {"POST", "/one/stop", http.Header{"Origin": {"https://evil.example"}}, 403},
		"no real origin":    {"POST", "/one/stop", http.Header{"Origin": {"null"}}, 403},
		"cross-site":        {"POST", "/one/stop", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"other gateway":     {"POST", "/one/stop", http.Header{"Origin": {"http://" + host}, "X-Forwarded-Host": {"localhost:10010"}}, 403},
		"own origin":        {"POST", "/one/start", http.Header{"Origin": {"http://" + host}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		"behind a gateway":  {"POST", "/one/start", http.Header{"Origin": {"https://localhost:10010"}, "X-Forwarded-Host": {"localhost:10010"}}, 200},
		"unknown instance":  {"POST", "/six/stop", nil, 404},
		"unknown verb":      {"POST", "/one/explode", nil, 404},
		"not a safe method": {"GET", "/one/stop", nil, 404},
	} {
		if resp, _ := do(t, tc.method, list+tc.path, tc.header, ""); resp.StatusCode != tc.status {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, tc.status)
		}
	}
	if one.State() != Running {
		t.Error("a refused request has stopped the instance")
	}
	if resp, body := get(t, c.URL("/")); resp.StatusCode != 200 || !strings.Contains(body, "<title>Fairlead demo") {
		t.Errorf("page: %d", resp.StatusCode)
	}
}
