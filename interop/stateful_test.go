package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A statefulService is two instances of a service that keeps state for each of its sessions: under `auto` those are not moved.
type statefulService struct {
	t         *testing.T
	g         *gateway
	app       string
	instances []*process // first and second
}

// startStateful starts and registers two instances of node/stateful's kind as app. What a client asks over HTTP and its WebSocket
// come to one of them, as such services need it.
func (g *gateway) startStateful(t *testing.T, kind, app string) *statefulService {
	t.Helper()
	s := &statefulService{t: t, g: g, app: app}
	for _, name := range []string{"first", "second"} {
		s.instances = append(s.instances, start(t, command{
			name: app + ", " + name, argv: []string{"node", absolute(t, "node/stateful/run.js"), kind, "service", name},
		}))
	}
	metadata := map[string]string{"fairlead.loadBalancing": "sticky", "fairlead.websocket.drain": "move"}
	if kind == "socketio" { // its client for Node.js keeps no cookies
		metadata["fairlead.loadBalancing"], metadata["fairlead.hash.clientAddress"] = "hash", "true"
	}
	for _, p := range s.instances {
		g.register(t, app, "127.0.0.1:"+p.captured(t, `listening on (\d+)`), metadata)
	}
	return s
}

// captured waits for a line of the process's output, and returns the first group of the pattern that it matches whole.
func (p *process) captured(t *testing.T, pattern string) (group string) {
	t.Helper()
	re := regexp.MustCompile("(?m)^" + pattern + "$")
	waitFor(t, fmt.Sprintf("%s: output like %q", p.name, pattern), wait, []*process{p}, func() error {
		m := re.FindStringSubmatch(p.out.String())
		if m == nil {
			return errors.New("not printed")
		}
		group = m[len(m)-1]
		return nil
	})
	return group
}

// takeOut puts one instance out of service, in the registry.
func (s *statefulService) takeOut(i int) {
	s.t.Helper()
	port := s.instances[i].captured(s.t, `listening on (\d+)`)
	url := fmt.Sprintf("https://%s/eureka/apps/%s/127.0.0.1:%s:%s/status?value=OUT_OF_SERVICE", s.g.registry, s.app, s.app, port)
	req, err := http.NewRequest(http.MethodPut, url, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.g.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d", resp.StatusCode)
	}
}

// Clients of Socket.IO, GraphQL subscriptions and SignalR lose the instance that knows them: by its death, or in a planned drain. Under
// `auto` they are told 1012, connect again by themselves, and go on with the other instance.
func TestStatefulClients(t *testing.T) {
	g := startGateway(t, newPKI(t))
	for _, c := range []struct {
		kind, transport string
		killed, drained string // the reason of the Close
	}{
		{"socketio", "websocket", "Connection to the service was lost", "The service instance is going away"},
		{"socketio", "polling", "Connection to the service was lost", "The service instance is going away"},
		{"graphql", "", "Connection to the service was lost", "The service instance is going away"},
		{
			"signalr", "", "Another instance of the service does not take the session over: 404 Not Found",
			"Another instance of the service does not take the session over: 404 Not Found",
		},
	} {
		for _, how := range []string{"killed", "drained"} {
			app := strings.Trim(c.kind+"-"+c.transport, "-") + "-" + how
			t.Run(app, func(t *testing.T) {
				reason := c.killed
				if how == "drained" {
					reason = c.drained
				}
				s := g.startStateful(t, c.kind, app)
				base := "https://" + g.https + "/" + app + "/ws/v1"
				client := start(t, command{
					name: app + ", client", env: []string{"NODE_EXTRA_CA_CERTS=" + g.caFile},
					argv: []string{"node", absolute(t, "node/stateful/run.js"), c.kind, "client", base, c.transport},
				})
				s.lose(client, how, c.transport == "polling", reason)
			})
		}
	}
}

// lose takes the instance that the client is with from it, and wants the client to go on with the other.
func (s *statefulService) lose(client *process, how string, upgrades bool, reason string) {
	t := s.t
	t.Helper()
	names := []string{"first", "second"}
	if upgrades {
		client.captured(t, `upgraded to (websocket)`)
	}
	with := slices.Index(names, client.captured(t, `(first|second) [1-9]\d*`))
	began := time.Now()
	if how == "killed" {
		s.instances[with].signal(syscall.SIGKILL)
	} else {
		s.takeOut(with)
	}
	client.captured(t, `closed (1012) `+regexp.QuoteMeta(reason))
	told := time.Since(began)
	client.captured(t, `closed(?s:.*)^`+names[1-with]+` (\d+)`)
	t.Logf("told after %v, goes on after %v", told.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	line := s.g.logged(t, `"service":"`+s.app+`"`, `"close_code":1012`)
	by := map[string]string{"killed": "upstream", "drained": "gateway"}[how]
	if line["close_reason"] != reason || line["closed_by"] != by || line["moves"] != 0.0 {
		text, _ := json.Marshal(line)
		t.Errorf("the access log has %s, want reason %q by %s", text, reason, by)
	}
}
