package eureka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// How a cluster is followed.
const (
	firstRetry    = time.Second       // after everything failed once; doubles
	lastRetry     = 30 * time.Second  // or the interval, if that is longer
	deltaTrust    = 150 * time.Second // a delta tells of the last 180 s: older than this, everything is read
	fullEvery     = 10 * time.Minute  // the hash counts statuses only: what else was missed is found so
	doubtFor      = 90 * time.Second  // one lease
	leaveTimeout  = 5 * time.Second
	leaveGrace    = time.Second // for the call that is under way when the gateway leaves
	maxTold       = 1000        // problems of instances that are remembered as logged
	renewInterval = 30 * time.Second
)

// Cluster is an Eureka cluster, read again and again: a Source of its instances. What was read last stays while no server
// answers. If it is given an instance to announce, it keeps that one registered.
type Cluster struct {
	log      *slog.Logger // constant
	clients  []*Client    // constant, in the order of the configuration
	interval time.Duration
	allowed  []string
	changed  chan struct{}
	own      *Instance     // constant once Run has begun; nil: nothing is registered
	leaving  chan struct{} // closed by Leave
	leave    sync.Once
	left     chan struct{} // closed when nothing is registered any more

	// Owned by the goroutine that reads.
	reader clusterReader

	mu         sync.Mutex // guards the following
	instances  []*Instance
	generation uint64
	status     ClusterStatus
}

// ClusterStatus is how the cluster fares.
type ClusterStatus struct {
	Servers    []string  // in the order of the configuration, without credentials
	Server     string    // the one that answered last; empty: none has
	Read       time.Time // when it did; zero: never
	Err        string    // why no server answers now; empty: one does
	Instances  int       // that are used
	Refused    int       // that were read and are not used; the log has said why
	Full       int64     // whole registries read since start
	Deltas     int64     // deltas read since start
	Registers  bool      // the gateway wants to be registered there
	Registered bool      // it is
}

// Stale says that no server answers, and what is served is what the cluster was.
func (s ClusterStatus) Stale() bool { return s.Err != "" }

// NewCluster makes a reader of the cluster of cfg. It starts nothing.
func NewCluster(cfg ClusterConfig, o ClientOptions, log *slog.Logger) (*Cluster, error) {
	c := &Cluster{
		log: log, interval: cfg.fetchInterval(), allowed: cfg.AllowedHosts, changed: make(chan struct{}, 1),
		leaving: make(chan struct{}), left: make(chan struct{}),
	}
	c.reader = clusterReader{cluster: c, all: map[leaseKey]*Instance{}, told: map[string]bool{}}
	for i, raw := range cfg.ServiceURLs {
		client, err := NewClient(raw, o)
		if err != nil {
			return nil, fmt.Errorf("serviceUrls[%d]: %w", i, err)
		}
		c.clients = append(c.clients, client)
		c.status.Servers = append(c.status.Servers, client.String())
	}
	return c, nil
}

// Announce has Run keep i registered with the cluster. Before Run. The instance is never among Instances.
func (c *Cluster) Announce(i *Instance) {
	c.own = i
	c.status.Registers = true
	for _, client := range c.clients {
		client.o.ID = i.ID
	}
}

// Instances is an immutable snapshot, sorted by application, then by when they were first seen.
func (c *Cluster) Instances() []*Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.instances
}

// Changed gets a value after a change that matters to routes. Latest wins; one subscriber.
func (c *Cluster) Changed() <-chan struct{} { return c.changed }

// Generation counts the changes that matter to routes.
func (c *Cluster) Generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// Status is the cluster's state now.
func (c *Cluster) Status() ClusterStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Run reads the cluster and keeps the announced instance registered, until ctx ends; then the registration ends too.
func (c *Cluster) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.keepRegistered(ctx) })
	wg.Go(func() { c.keepRead(ctx) })
	wg.Wait()
	for _, client := range c.clients {
		client.Close()
	}
	return nil
}

func (c *Cluster) keepRead(ctx context.Context) {
	for failed := 0; ctx.Err() == nil; {
		if err := c.reader.read(ctx, time.Now()); err != nil {
			failed++
		} else {
			failed = 0
		}
		if !sleep(ctx, nil, pause(c.interval, failed)) {
			return
		}
	}
}

// pause is the time until the next try: the interval, or after failures a growing time; both with jitter, so that many
// clients do not come at once.
func pause(interval time.Duration, failed int) time.Duration {
	if failed > 0 {
		interval = min(firstRetry<<min(failed-1, 10), max(lastRetry, interval))
		return interval/2 + rand.N(interval/2)
	}
	return interval - rand.N(interval/10)
}

// sleep waits for d, and says whether neither ctx nor stop has ended it.
func sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
	case <-ctx.Done():
	}
	return false
}

// Leave ends the registration and waits until it has ended, or ctx does. Reading goes on.
func (c *Cluster) Leave(ctx context.Context) {
	c.leave.Do(func() { close(c.leaving) })
	select {
	case <-c.left:
	case <-ctx.Done():
	}
}

func (c *Cluster) keepRegistered(ctx context.Context) {
	defer close(c.left)
	if c.own == nil {
		return
	}
	staying, end := context.WithCancel(ctx)
	defer end()
	go func() {
		select {
		case <-c.leaving: // a registration that is cut off may come to the server behind its end; but one that hangs is not waited for
			sleep(staying, nil, leaveGrace)
			end()
		case <-staying.Done():
		}
	}()
	at, registered, wait := 0, false, true
	for failed := 0; wait; wait = sleep(staying, c.leaving, pause(renewInterval, failed)) {
		err := c.try(&at, func(client *Client) error { return c.announce(staying, client, registered) })
		was := registered
		if registered = err == nil; registered {
			failed = 0
		} else {
			failed++
		}
		c.mu.Lock()
		c.status.Registered = registered
		c.mu.Unlock()
		switch {
		case err != nil && staying.Err() != nil:
			registered = true // what was under way may have come there
		case err != nil && (was || failed == 1):
			c.log.Warn("gateway not registered", "err", err)
		case err == nil && !was:
			c.log.Info("gateway registered", "server", c.clients[at].String(), "instance", c.own.ID)
		}
	}
	if !registered {
		return
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	err := c.clients[at].Cancel(stop, c.own.App, c.own.ID)
	if e, ok := errors.AsType[*CallError](err); err != nil && (!ok || e.Status != http.StatusNotFound) {
		c.log.Warn("gateway registration not ended", "server", c.clients[at].String(), "err", err)
	}
	c.mu.Lock()
	c.status.Registered = false
	c.mu.Unlock()
}

// announce renews the registration, or makes it where the server has none.
func (c *Cluster) announce(ctx context.Context, client *Client, registered bool) error {
	if registered {
		err := client.Renew(ctx, c.own)
		if e, ok := errors.AsType[*CallError](err); !ok || e.Status != http.StatusNotFound {
			return err
		}
		c.log.Info("gateway registers again", "server", client.String())
	}
	return client.Register(ctx, c.own)
}

// try calls f with the client at *at, then with the others in their order, until one does not fail. *at is then that one.
func (c *Cluster) try(at *int, f func(*Client) error) error {
	var all []error
	for n := range c.clients {
		i := (*at + n) % len(c.clients)
		err := f(c.clients[i])
		if err == nil {
			*at = i
			return nil
		}
		all = append(all, fmt.Errorf("%s: %w", c.clients[i], err))
	}
	return errors.Join(all...)
}

// beside says whether a server is on this machine: only then may its instances be on loopback.
func (c *Client) beside() bool {
	u, err := url.Parse(c.base)
	if err != nil {
		return false
	}
	own, err := os.Hostname()
	return loopbackHost(u.Hostname()) || err == nil && strings.EqualFold(own, u.Hostname())
}
