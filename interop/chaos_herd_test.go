package interop

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestChaosHerd has the only instance of thousands of sessions die, with two others to go to. All of them go on; what the move costs
// them, and those who have nothing to do with it, is printed. FAIRLEAD_CHAOS_SESSIONS is how many clients there are (default 200).
func TestChaosHerd(t *testing.T) {
	requireInterop(t)
	total := chaosSessions(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 5)
	g := startChaosGateway(t, "gateway", ports[0], "127.0.0.1:"+ports[1], "")
	var hosts []*chaosHost
	join := func() {
		h := &chaosHost{id: fmt.Sprint("i", len(hosts)+1), argv: []string{program}}
		h.spec = fmt.Sprintf("%s|127.0.0.1:%s|%s", h.id, ports[2+len(hosts)], g.registry)
		h.start(t)
		hosts = append(hosts, h)
	}
	join()
	c := &chaos{t: t, gateways: []*gateway{g}, hosts: hosts}
	waitFor(t, "an instance that answers", wait, nil, func() error {
		_, err := ask(g, "reconnect", nil)
		return err
	})
	stop := make(chan struct{})
	running := c.playAs(total, stop, "reconnect")
	waitFor(t, "every session", 2*wait, nil, func() error {
		for _, p := range c.clients {
			p.mu.Lock()
			last := p.last
			p.mu.Unlock()
			if last == 0 {
				return fmt.Errorf("%s has had no answer", p.name)
			}
		}
		return nil
	})
	join()
	join()
	var others bystanders
	others.watch(g)
	time.Sleep(2 * time.Second)
	killed := time.Now()
	c.events = append(c.events, chaosEvent{chaosKill, "i1", killed})
	hosts[0].process.signal(syscall.SIGKILL)
	time.Sleep(2*time.Second + time.Duration(total)*time.Second/400)
	others.end()
	close(stop)
	for _, p := range c.clients {
		p.end()
	}
	running.Wait()
	others.print(t, killed)
	log := c.accessLog()
	c.judgeMode("reconnect", log)
	c.printTimes()
}

// ask opens a session, has one number answered, and says how long each took. With conn it is asked on that session.
func ask(g *gateway, mode string, conn *websocket.Conn) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), chaosOpening)
	defer cancel()
	began := time.Now()
	if conn == nil {
		if conn, _, err = websocket.Dial(ctx, "ws://"+g.plain+"/chaos-"+mode+"/ws/v1/x", nil); err != nil {
			return 0, err
		}
		defer conn.CloseNow()
	}
	if err = conn.Write(ctx, websocket.MessageText, []byte("1")); err == nil {
		_, _, err = conn.Read(ctx)
	}
	return time.Since(began), err
}

// bystanders use the gateway while others move.
type bystanders struct {
	stop    chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex // guards the following
	opened []bystander
	echoed []bystander
	failed []error
}

type bystander struct {
	at   time.Time
	took time.Duration
}

// watch has sessions of another service ask again and again, and new ones opened.
func (b *bystanders) watch(g *gateway) {
	b.stop = make(chan struct{})
	for range 10 {
		b.running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), chaosOpening)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, "ws://"+g.plain+"/chaos-replay/ws/v1/x", nil)
			if err != nil {
				return
			}
			defer conn.CloseNow()
			b.repeat(&b.echoed, func() (time.Duration, error) { return ask(g, "", conn) })
		})
	}
	b.running.Go(func() { b.repeat(&b.opened, func() (time.Duration, error) { return ask(g, "reconnect", nil) }) })
}

func (b *bystanders) repeat(into *[]bystander, do func() (time.Duration, error)) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.stop:
			return
		}
		at := time.Now()
		took, err := do()
		b.mu.Lock()
		if err != nil {
			b.failed = append(b.failed, fmt.Errorf("at %v: %w", at.Format("05.000"), err))
		} else {
			*into = append(*into, bystander{at, took})
		}
		b.mu.Unlock()
	}
}

func (b *bystanders) end() {
	close(b.stop)
	b.running.Wait()
}

func (b *bystanders) print(t *testing.T, killed time.Time) {
	for what, all := range map[string][]bystander{"answers to others": b.echoed, "new sessions, with one answer": b.opened} {
		var before, after []time.Duration
		for _, one := range all {
			if one.at.Before(killed) {
				before = append(before, one.took)
			} else {
				after = append(after, one.took)
			}
		}
		t.Logf("%s: before %s; after the death %s", what, spread(before), spread(after))
	}
	if len(b.failed) > 0 {
		t.Logf("%d of them failed, the first so: %v", len(b.failed), b.failed[0])
	}
}
