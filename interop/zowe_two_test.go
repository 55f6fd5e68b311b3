package interop

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/coder/websocket"
)

// Zowe's WebSocketChaoticTest with its two gateways. The second one reads the first one's registry, so it hears of an instance that goes a
// second late. A session of either outlives the instance that carries it (case 1), and the second gateway takes new ones when an instance
// has gone, and when the first gateway has (cases 2 and 3).
func TestZoweTwoGateways(t *testing.T) {
	d := startDemo(t)
	registry := regexp.MustCompile(`http://\S+/eureka/apps`).FindString(d.out.String())
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	config := filepath.Join(dir, "fairlead.yaml")
	writeFile(t, config, fmt.Sprintf(`
gateway: {listeners: [{name: http, address: "127.0.0.1:%s"}]}
registry: {enabled: false}
eureka: {serviceUrls: [%q], fetchInterval: 1s}
dataDir: data
`, port, registry[:len(registry)-len("apps")]))
	second := &gateway{
		process: start(t, command{name: "second gateway", dir: dir, argv: []string{binary(t), "run", "--config", config}}),
		plain:   "127.0.0.1:" + port, client: http.DefaultClient,
	}
	names, err := d.running()
	if err != nil {
		t.Fatal(err)
	}
	alive := []*process{d.process, second.process}
	for _, order := range orders {
		waitFor(t, "the second gateway to know the service", wait, alive, func() error {
			status, body, err := second.get("http://"+second.plain+"/discoverableclient/api/v1/ws", nil)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("status %d: %s", status, body)
			}
			return err
		})
		for _, name := range names {
			var sessions []*session
			for range 2 * len(names) {
				sessions = append(sessions, d.dial(t, order+"/uppercase", nil), second.dialPlain(t, order+"/uppercase"))
			}
			d.change(t, name, "stop")
			for _, s := range sessions {
				s.ask("hello world!", "HELLO WORLD!")
				s.ask("and again", "AND AGAIN")
			}
			// As Zowe's test: it may not know the other one yet.
			waitFor(t, "a new session at the second gateway", wait, alive, func() error {
				s := second.dialPlain(t, order+"/uppercase")
				_ = s.conn.Write(t.Context(), websocket.MessageText, []byte("hello world 2!")) // what it is told instead is read
				if text, err := s.read(); err != nil || text != "HELLO WORLD 2!" {
					return fmt.Errorf("%q, %w", text, err)
				}
				return nil
			})
			d.change(t, name, "start")
			for _, s := range sessions {
				_ = s.conn.CloseNow()
			}
		}
	}
	d.stop(t)
}

// dialPlain is dial without TLS.
func (g *gateway) dialPlain(t *testing.T, path string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws://"+g.plain+path, nil)
	if err != nil {
		t.Fatalf("dial %s: %v (%v)", path, err, resp)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &session{t, conn}
}
