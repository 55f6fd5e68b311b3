package interop

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// The actuator endpoint `websockets` lists an open session with Zowe's five keys, to whom may
// see it; the access log has one line for it when it is over; the gateway's end is a Close
// 1001 and exit code 0.
func TestSessionIsListedAndLogged(t *testing.T) {
	g := startGateway(t, newPKI(t))
	g.startNode(t, 1)
	s := g.dial(t, "/nodeservice/ws/v1/echo?x=1", nil)
	s.ask("listed", "listed")

	url := "https://" + g.https + "/application/websockets"
	if status, body, err := g.get(url, nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("without credentials: status %d, want 401 (%v): %s", status, err, body)
	}
	status, body, err := g.get(url, basic("admin", adminPassword))
	if err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v: %s", status, err, body)
	}
	var list []map[string]*string
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 1 || len(list[0]) != 5 {
		t.Fatalf("want one session with five keys, got %s (%v)", body, err)
	}
	for key, want := range map[string]string{
		"clientAddress": "/127.0.0.1:",
		"gatewayPath":   "wss://" + g.https + "/nodeservice/ws/v1/echo?x=1",
		"serviceUrl":    "/nodeservice/ws/echo?x=1",
	} {
		if got := list[0][key]; got == nil || !strings.Contains(*got, want) {
			t.Errorf("%s in %s, want %q in it", key, body, want)
		}
	}
	if list[0]["sessionId"] == nil || *list[0]["sessionId"] == "" {
		t.Fatalf("no session id in %s", body)
	}

	g.signal(syscall.SIGTERM)
	s.wantClose(1001)
	if err := g.wait(stopGrace); err != nil {
		t.Errorf("the gateway after SIGTERM: %v", err)
	}
	record := g.logged(t, *list[0]["sessionId"])
	if record["status"] != 101.0 || record["service"] != "nodeservice" || record["close_code"] != 1001.0 || record["closed_by"] != "gateway" {
		t.Errorf("the access log has %v", record)
	}
}
