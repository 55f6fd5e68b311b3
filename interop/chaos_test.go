package interop

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// What is done to instances.
const (
	chaosKill  = "kill"  // SIGKILL, and a new start
	chaosTerm  = "term"  // SIGTERM, and a new start
	chaosPause = "pause" // SIGSTOP, and SIGCONT
	chaosReset = "reset" // every connection is reset
	chaosCut   = "cut"   // its network drops every packet
)

const (
	chaosDead  = 300 * time.Millisecond // how long an instance stays away that was killed
	chaosQuiet = 12 * time.Second       // how long one is paused or cut off
	chaosRest  = 1500 * time.Millisecond
	chaosHurt  = 2 // so many are hurt at the same time, at most
)

// A chaosEvent is something that was done to an instance.
type chaosEvent struct {
	how, id string
	at      time.Time
}

// A chaosHost is one instance of the service, as a process that comes and goes.
type chaosHost struct {
	id   string
	argv []string
	spec string

	process *process
	how     string // what was done to it; "": it is well
	until   time.Time
}

func (h *chaosHost) start(t *testing.T) {
	h.process = start(t, command{name: "instance " + h.id, argv: h.argv, env: []string{chaosEnv + "=" + h.spec}})
	h.process.told = true
	h.process.prints(t, "serving", wait)
}

// A chaos is the test's world.
type chaos struct {
	t        *testing.T
	length   time.Duration
	network  *chaosNetwork // nil: there are no namespaces
	gateways []*gateway
	hosts    []*chaosHost
	clients  []*chaosClient
	events   []chaosEvent
	lag      time.Duration // the longest that this process itself was late
}

// TestChaos has two gateways, whose registries are peers, and five instances that are killed, stopped, paused and cut off, while
// clients count. FAIRLEAD_CHAOS is how long (default 20s), FAIRLEAD_CHAOS_SESSIONS how many clients (default 200).
func TestChaos(t *testing.T) {
	requireInterop(t)
	length, total := 20*time.Second, chaosSessions(t)
	if text := os.Getenv("FAIRLEAD_CHAOS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	c := &chaos{t: t, length: length}
	c.build()
	c.sameSet()
	stop := make(chan struct{})
	running := c.playAs(total, stop, chaosModes...)
	c.hurt()
	close(stop)
	for _, p := range c.clients {
		p.end()
	}
	running.Wait()
	c.sameSet()
	c.judge()
}

// chaosSessions is how many clients there are to be.
func chaosSessions(t *testing.T) int {
	text := os.Getenv("FAIRLEAD_CHAOS_SESSIONS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// build starts the gateways and the instances. Instances register with one registry or with both.
func (c *chaos) build() {
	t := c.t
	const instances = 5
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address, why := "127.0.0.1", ""
	if c.network, why = newChaosNetwork(t, instances); c.network != nil {
		address = c.network.gateway
	} else {
		t.Logf("no network namespaces, so networks are not cut, connections are only reset: %s", why)
	}
	ports := freePorts(t, 4)
	registries := []string{address + ":" + ports[2], address + ":" + ports[3]}
	for i := range 2 {
		c.gateways = append(c.gateways, startChaosGateway(t, fmt.Sprint("gateway ", i+1), ports[i], registries[i], registries[1-i]))
	}
	service := freePorts(t, instances)
	for i := range instances {
		known := [][]string{registries[:1], registries[1:], registries}[i%3]
		h := &chaosHost{id: fmt.Sprint("i", i+1), argv: []string{program}}
		host := address
		if c.network != nil {
			host, h.argv = c.network.host(i), c.network.inside(i, program)
		}
		h.spec = fmt.Sprintf("%s|%s:%s|%s", h.id, host, service[i], strings.Join(known, " "))
		h.start(t)
		c.hosts = append(c.hosts, h)
	}
}

// startChaosGateway runs a gateway whose registry is at an address that the instances reach, and has a peer.
func startChaosGateway(t *testing.T, name, port, registry, peer string) *gateway {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte(adminPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if peer != "" {
		peer = strconv.Quote("http://" + peer + "/eureka/")
	}
	config := filepath.Join(dir, "fairlead.yaml")
	writeFile(t, config, fmt.Sprintf(`
gateway: {listeners: [{name: http, address: "127.0.0.1:%s"}]}
registry: {address: %q, plain: true, insecure: true, peers: [%s]}
admin: {users: ["admin:%s"]}
accessLog: {path: access.log}
log: {level: debug}
dataDir: data
`, port, registry, peer, hash))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	g := &gateway{plain: "127.0.0.1:" + port, registry: registry, accessLog: filepath.Join(dir, "access.log"), client: http.DefaultClient}
	g.process = start(t, command{name: name, dir: dir, copy: log, argv: []string{binary(t), "run", "--config", config}})
	g.told = true
	waitFor(t, "the health of "+name, wait, []*process{g.process}, func() error {
		status, body, err := g.get("http://"+g.plain+"/application/health", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
	return g
}

// sameSet waits until both registries have every instance, whichever it was told to.
func (c *chaos) sameSet() {
	var want []string
	for _, h := range c.hosts {
		for _, mode := range chaosModes {
			want = append(want, "CHAOS-"+strings.ToUpper(mode)+"/"+h.id+"=UP")
		}
	}
	own, theirs := "http://"+c.gateways[0].registry+"/eureka/", "http://"+c.gateways[1].registry+"/eureka/"
	same(c.t, []*process{c.gateways[0].process, c.gateways[1].process}, 2*wait, own, theirs, want...)
}

// playAs opens the sessions, of these modes in turn.
func (c *chaos) playAs(total int, stop chan struct{}, modes ...string) *sync.WaitGroup {
	var running sync.WaitGroup
	const drummers = 4
	for i := range total {
		mode := modes[i%len(modes)]
		p := &chaosClient{
			mode: mode, name: fmt.Sprintf("c%d", i), address: c.gateways[i/len(modes)%len(c.gateways)].plain, stop: stop,
			flight: 1 + i/len(modes)%8, pace: time.Duration(200+rand.IntN(200)) * time.Millisecond,
		}
		c.clients = append(c.clients, p)
	}
	for i := range drummers {
		running.Go(func() { c.drum(i, drummers, stop) })
	}
	for i, p := range c.clients {
		running.Go(p.run)
		if i%20 == 19 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return &running
}

// drum sends for every n-th client. The first one notes how late this process itself is at times: a client that does not answer
// a Ping because it does not run is not the gateway's fault.
func (c *chaos) drum(first, n int, stop <-chan struct{}) {
	const beat = 20 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for before := time.Now(); ; {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		now := time.Now()
		if first == 0 {
			c.lag = max(c.lag, now.Sub(before)-beat)
		}
		before = now
		for i := first; i < len(c.clients); i += n {
			c.clients[i].beat(now)
		}
	}
}

// hurt does to the instances what happens to instances, and brings them back.
func (c *chaos) hurt() {
	kinds := []string{chaosKill, chaosPause, chaosReset, chaosCut, chaosTerm}
	if c.network == nil {
		kinds = slices.DeleteFunc(kinds, func(how string) bool { return how == chaosCut })
	}
	var next time.Time
	for n, end := 0, time.Now().Add(c.length); ; {
		now, hurt := time.Now(), 0
		for _, h := range c.hosts {
			if h.how != "" {
				c.heal(h, now)
			}
			if h.how != "" {
				hurt++
			}
		}
		switch {
		case now.Before(end) && !now.Before(next) && hurt < chaosHurt:
			h := c.hosts[rand.IntN(len(c.hosts))]
			for h.how != "" {
				h = c.hosts[rand.IntN(len(c.hosts))]
			}
			c.wound(h, kinds[n%len(kinds)], now)
			n, next = n+1, now.Add(chaosRest)
		case !now.Before(end) && hurt == 0:
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wound does it to h.
func (c *chaos) wound(h *chaosHost, how string, now time.Time) {
	c.events = append(c.events, chaosEvent{how, h.id, now})
	h.how, h.until = how, now.Add(chaosQuiet)
	switch how {
	case chaosKill:
		h.process.signal(syscall.SIGKILL)
		h.until = now.Add(chaosDead)
	case chaosTerm:
		h.process.signal(syscall.SIGTERM)
	case chaosPause:
		h.process.signal(syscall.SIGSTOP)
	case chaosReset:
		h.process.signal(syscall.SIGUSR1)
		h.until = now
	case chaosCut:
		if err := c.network.cut(c.index(h)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// heal brings h back, if it is time.
func (c *chaos) heal(h *chaosHost, now time.Time) {
	gone := false
	select {
	case <-h.process.done:
		gone = true
	default:
	}
	switch {
	case h.how == chaosTerm:
		if !gone {
			return
		}
		h.start(c.t)
	case now.Before(h.until):
		return
	case h.how == chaosKill:
		<-h.process.done
		h.start(c.t)
	case h.how == chaosPause:
		h.process.signal(syscall.SIGCONT)
	case h.how == chaosCut:
		if err := c.network.mend(c.index(h)); err != nil {
			c.t.Fatal(err)
		}
	}
	h.how = ""
}

func (c *chaos) index(h *chaosHost) int { return slices.Index(c.hosts, h) }
