package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A chaosClient holds one session open and sends numbers, a few in flight, until it is told to stop.
type chaosClient struct {
	mode, name string
	url        string
	flight     int // numbers in flight, at most
	pace       time.Duration

	// Tallies, of the client's goroutine until it has ended.
	answered, missing int
	instances         int // changes of the instance that answers
	closes            map[websocket.StatusCode]int
	silent            int      // closes without a reason
	lost              []string // ends that should not have been
	wrong             []string // answers out of order, or twice
	gaps              []time.Duration
}

// run keeps the session until stop is closed, then sees to it that what is in flight is answered, and says goodbye.
func (c *chaosClient) run(stop <-chan struct{}) {
	c.closes = map[websocket.StatusCode]int{}
	for n := 0; ; n++ {
		again := c.session(n, stop)
		if !again {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond):
		}
	}
}

// session tells whether another one is due: with `off`, each loss ends one.
func (c *chaosClient) session(n int, stop <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opening, opened := context.WithTimeout(ctx, 15*time.Second)
	conn, _, err := websocket.Dial(opening, c.url+"&n="+strconv.Itoa(n), nil)
	opened()
	if err != nil {
		if c.mode != "off" && n == 0 {
			c.lost = append(c.lost, "not opened: "+err.Error())
			return false
		}
		return true // another instance may be dying: a client tries again
	}
	defer conn.CloseNow()
	answers := make(chan string)
	ended := make(chan error, 1)
	go func() {
		for {
			_, message, err := conn.Read(ctx)
			if err != nil {
				ended <- err
				return
			}
			select {
			case answers <- string(message):
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(c.pace)
	defer tick.Stop()
	sent, last, from := 0, 0, ""
	heard := time.Now()
	var finish <-chan time.Time
	stopped := stop
	for {
		var send <-chan time.Time
		if finish == nil && sent-last < c.flight {
			send = tick.C
		}
		select {
		case <-send:
			sent++
			if err := conn.Write(ctx, websocket.MessageText, []byte(strconv.Itoa(sent))); err != nil {
				select { // the reader knows better what has ended the session
				case err = <-ended:
				case <-answers:
					err = errors.New("an answer on a session that takes no message: " + err.Error())
				case <-time.After(5 * time.Second):
				}
				return c.ended(err)
			}
		case text := <-answers:
			number, instance, _ := strings.Cut(text, " ")
			k, err := strconv.Atoi(number)
			if err != nil || k <= last || k > sent {
				c.wrong = append(c.wrong, fmt.Sprintf("%q behind %d, sent %d", text, last, sent))
				return false
			}
			c.missing += k - last - 1
			c.answered++
			if from != "" && instance != from {
				c.instances++
				c.gaps = append(c.gaps, time.Since(heard))
			}
			last, from, heard = k, instance, time.Now()
		case err := <-ended:
			return c.ended(err)
		case <-stopped:
			stopped, finish = nil, time.After(12*time.Second)
		case <-finish:
			c.missing += sent - last
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return false
		}
		if finish != nil && last == sent {
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return false
		}
	}
}

// ended judges an end that the client has not asked for.
func (c *chaosClient) ended(err error) bool {
	var ce websocket.CloseError
	if !errors.As(err, &ce) {
		c.lost = append(c.lost, err.Error())
		return c.mode == "off"
	}
	c.closes[ce.Code]++
	if ce.Reason == "" {
		c.silent++
	}
	if c.mode != "off" {
		c.lost = append(c.lost, ce.Error())
		return false
	}
	return true
}

// A chaosHost is one instance of the service, as a process that comes and goes.
type chaosHost struct {
	spec    string
	process *process
}

func (h *chaosHost) start(t *testing.T, program string) {
	h.process = start(t, command{name: "instance " + h.spec, argv: []string{program}, env: []string{chaosEnv + "=" + h.spec}})
	h.process.told = true
	h.process.prints(t, "serving", 20*time.Second)
}

// hurt does to an instance what happens to instances, and brings it back.
func (h *chaosHost) hurt(t *testing.T, program, how string) {
	switch how {
	case "kill":
		h.process.signal(syscall.SIGKILL)
		<-h.process.done
		h.start(t, program)
	case "term":
		h.process.signal(syscall.SIGTERM)
		<-h.process.done
		h.start(t, program)
	case "pause":
		h.process.signal(syscall.SIGSTOP)
		time.Sleep(8 * time.Second)
		h.process.signal(syscall.SIGCONT)
	case "reset":
		h.process.signal(syscall.SIGUSR1)
	}
}

// TestChaos has two gateways, each with its registry, and five instances that are killed, stopped, paused and cut, while
// clients count. FAIRLEAD_CHAOS is how long (default 20s), FAIRLEAD_CHAOS_SESSIONS how many clients (default 200).
func TestChaos(t *testing.T) {
	requireInterop(t)
	length, total := 20*time.Second, 200
	if text := os.Getenv("FAIRLEAD_CHAOS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("FAIRLEAD_CHAOS_SESSIONS"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	keys := newPKI(t)
	gateways := []*gateway{startGateway(t, keys), startGateway(t, keys)}
	registries := gateways[0].registry + " " + gateways[1].registry
	var hosts []*chaosHost
	for i, port := range freePorts(t, 5) {
		h := &chaosHost{spec: fmt.Sprintf("i%d|127.0.0.1:%s|%s", i+1, port, registries)}
		h.start(t, program)
		hosts = append(hosts, h)
	}
	var clients []*chaosClient
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range total {
		mode := chaosModes[i%len(chaosModes)]
		g := gateways[i/len(chaosModes)%len(gateways)]
		name := fmt.Sprintf("c%d", i)
		c := &chaosClient{
			mode: mode, name: name, flight: 1 + i%8, pace: time.Duration(200+rand.IntN(200)) * time.Millisecond,
			url: fmt.Sprintf("ws://%s/chaos-%s/ws/v1/x?client=%s", g.plain, mode, name),
		}
		clients = append(clients, c)
		running.Go(func() { c.run(stop) })
		if i%20 == 19 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	done := map[string]int{}
	for end, n := time.Now().Add(length), 0; time.Now().Before(end); n++ {
		how := []string{"kill", "reset", "term", "pause"}[n%4]
		hosts[n%len(hosts)].hurt(t, program, how)
		done[how]++
		time.Sleep(time.Second)
	}
	close(stop)
	running.Wait()
	uncertain := map[string]int{}
	for _, g := range gateways {
		for client, n := range chaosUncertain(t, g) {
			uncertain[client] += n
		}
	}
	t.Logf("%d clients, %v, done to instances: %v", total, length, done)
	judgeChaos(t, clients, uncertain)
}

// chaosUncertain sums what the gateway counted as uncertain, by client.
func chaosUncertain(t *testing.T, g *gateway) map[string]int {
	t.Helper()
	sum := map[string]int{}
	waitFor(t, "no live session", 30*time.Second, []*process{g.process}, func() error {
		req, err := http.NewRequest(http.MethodGet, "https://"+g.https+"/application/websockets", nil)
		if err != nil {
			return err
		}
		req.SetBasicAuth("admin", adminPassword)
		resp, err := g.client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var all []any
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
			return err
		}
		if len(all) > 0 {
			return fmt.Errorf("%d sessions", len(all))
		}
		return nil
	})
	time.Sleep(100 * time.Millisecond) // lines are written a few milliseconds later
	text, err := os.ReadFile(g.accessLog)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var rec struct {
			Path      string `json:"path"`
			Uncertain int    `json:"uncertain"`
		}
		if json.Unmarshal([]byte(line), &rec) != nil {
			continue
		}
		if u, err := url.Parse(rec.Path); err == nil && u.Query().Has("client") {
			sum[u.Query().Get("client")] += rec.Uncertain
		}
	}
	return sum
}

// judgeChaos holds what the clients saw to what is promised, and prints the tallies.
func judgeChaos(t *testing.T, clients []*chaosClient, uncertain map[string]int) {
	for _, mode := range chaosModes {
		var answered, missing, counted, moves, lost, silent int
		closes := map[websocket.StatusCode]int{}
		var gaps []time.Duration
		for _, c := range clients {
			if c.mode != mode {
				continue
			}
			answered += c.answered
			missing += c.missing
			counted += uncertain[c.name]
			moves += c.instances
			lost += len(c.lost)
			silent += c.silent
			gaps = append(gaps, c.gaps...)
			for code, n := range c.closes {
				closes[code] += n
			}
			for _, what := range c.wrong {
				t.Errorf("%s %s: order: %s", mode, c.name, what)
			}
			switch mode {
			case "off":
				if len(c.lost) > 0 {
					t.Errorf("off %s: ended without a close code: %v", c.name, c.lost)
				}
			case "replay":
				if c.missing > 0 {
					t.Errorf("replay %s: %d answers missing", c.name, c.missing)
				}
				fallthrough
			default:
				if len(c.lost) > 0 {
					t.Errorf("%s %s: lost: %v", mode, c.name, c.lost)
				}
				if c.missing > uncertain[c.name] {
					t.Errorf("%s %s: %d answers missing, %d counted as uncertain", mode, c.name, c.missing, uncertain[c.name])
				}
			}
		}
		if mode == "off" && silent > 0 {
			t.Errorf("off: %d closes without a reason", silent)
		}
		slices.Sort(gaps)
		at := func(q float64) time.Duration {
			if len(gaps) == 0 {
				return 0
			}
			return gaps[int(q*float64(len(gaps)-1))].Round(time.Millisecond)
		}
		t.Logf("%-9s answered %d, missing %d, uncertain %d, moves seen %d (silence at a move: median %v, p99 %v), lost %d, closes %v",
			mode, answered, missing, counted, moves, at(.5), at(.99), lost, closes)
	}
}
