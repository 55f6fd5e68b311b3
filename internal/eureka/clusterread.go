package eureka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// clusterReader is a cluster's registry as it was read. It belongs to the goroutine that reads.
type clusterReader struct {
	cluster *Cluster
	at      int    // the client that is asked first
	server  int    // the client that all came from
	order   uint64 // last value of Instance.Order and UpOrder

	all    map[leaseKey]*Instance // as the server has it, also what is not used: it counts in the hash
	known  bool                   // all was read
	fullAt time.Time              // last whole read
	readAt time.Time              // last read

	held  map[leaseKey]*Instance // were gone from a whole read that lacked more than half, and are not believed to be
	until time.Time              // then they are

	told map[string]bool // problems that were logged
}

// read asks the cluster once.
func (r *clusterReader) read(ctx context.Context, now time.Time) error {
	c := r.cluster
	before := r.at
	err := c.try(&r.at, func(client *Client) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return r.readFrom(ctx, client, now)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	s := &c.status
	was, age := s.Err, now.Sub(s.Read)
	if err != nil {
		s.Err = err.Error()
	} else {
		s.Err, s.Server, s.Read = "", c.clients[r.at].String(), now
	}
	served := s.Instances
	c.mu.Unlock()
	switch {
	case err != nil && was == "":
		c.log.Warn("no eureka server answers, what was read last is served", "instances", served, "err", err)
	case err == nil && was != "":
		c.log.Info("eureka server answers again", "server", c.clients[r.at].String(), "age_s", int(age.Seconds()))
	case err == nil && before != r.at:
		c.log.Warn("eureka server fails, another one is used", "failing", c.clients[before].String(), "server", c.clients[r.at].String())
	}
	return err
}

// readFrom reads what has changed from the server that everything came from, or everything.
func (r *clusterReader) readFrom(ctx context.Context, client *Client, now time.Time) error {
	c := r.cluster
	same := r.known && c.clients[r.server] == client
	if same && now.Sub(r.readAt) < deltaTrust && now.Sub(r.fullAt) < fullEvery {
		a, err := client.Delta(ctx)
		_, refused := errors.AsType[*CallError](err)
		if err != nil && !refused { // else the server may have no deltas
			return err
		}
		if err == nil && r.follow(client, a, now) {
			r.readAt = now
			c.count(func(s *ClusterStatus) { s.Deltas++ })
			r.publish(now)
			return nil
		}
	}
	a, err := client.Apps(ctx)
	if err != nil {
		return err
	}
	r.replace(client, a, now)
	r.server = slices.Index(c.clients, client)
	r.known, r.fullAt, r.readAt = true, now, now
	c.count(func(s *ClusterStatus) { s.Full++ })
	r.publish(now)
	return nil
}

// follow applies a delta, and says whether the result is what the server has.
func (r *clusterReader) follow(client *Client, delta *Applications, now time.Time) bool {
	for _, app := range delta.Apps {
		for _, i := range app.Instances {
			key := leaseKey{i.App, i.ID}
			if i.Action == Deleted {
				delete(r.all, key)
			} else {
				r.put(client, key, i)
			}
			delete(r.held, key)
		}
	}
	return hashcode(slices.Collect(maps.Values(r.all))) == delta.Hash
}

// replace takes a whole registry. If more than half of what was there before is missing, the server has more likely just
// been started than the services stopped: what is missing is kept for one lease, in which they come back or not.
func (r *clusterReader) replace(client *Client, whole *Applications, now time.Time) {
	var in []*Instance
	for _, app := range whole.Apps {
		in = append(in, app.Instances...)
	}
	slices.SortStableFunc(in, func(a, b *Instance) int {
		return cmp.Or(cmp.Compare(a.LastUpdated, b.LastUpdated), strings.Compare(a.App, b.App), strings.Compare(a.ID, b.ID))
	})
	old := r.all
	r.all = make(map[leaseKey]*Instance, len(in))
	for _, i := range in {
		key := leaseKey{i.App, i.ID}
		if before := old[key]; before != nil {
			r.all[key] = before // put compares with it
		}
		r.put(client, key, i)
		delete(r.held, key)
	}
	missing := make(map[leaseKey]*Instance)
	for key, i := range old {
		if r.all[key] == nil {
			missing[key] = i
		}
	}
	if 2*len(missing) <= len(old) {
		return
	}
	if len(r.held) == 0 {
		r.held, r.until = missing, now.Add(doubtFor)
		r.cluster.log.Warn("eureka server has lost instances, they are kept for now", "server", client.String(),
			"lost", len(missing), "left", len(r.all), "kept_s", int(doubtFor.Seconds()))
		return
	}
	maps.Copy(r.held, missing)
}

// put takes an instance as the server has it.
func (r *clusterReader) put(client *Client, key leaseKey, i *Instance) {
	i.External = true
	if i.problem == nil {
		i.problem = r.judge(client, i)
	}
	old := cmp.Or(r.all[key], r.held[key])
	if old != nil {
		i.Order, i.UpOrder = old.Order, old.UpOrder
	} else {
		r.order++
		i.Order = r.order
	}
	if i.Status == Up && (old == nil || !routesAlike(old, i)) {
		r.order++
		i.UpOrder = r.order
	}
	r.all[key] = i
}

// judge holds an instance to what the embedded registry asks of those that register with it.
func (r *clusterReader) judge(client *Client, i *Instance) error {
	if i.ID == "" || i.App == "" || i.HostName == "" {
		return errors.New("instanceId, app or hostName is missing")
	}
	if i.DataCenter.Name == "" {
		i.DataCenter.Name = dataCenterMyOwn
	}
	translate(i)
	if n, most := size(i), (Config{}).metadataLimit(); n > most {
		return fmt.Errorf("metadata is %d bytes, more than %d", n, most)
	}
	if err := check(i); err != nil {
		return err
	}
	if err := checkReaches(i, nil, client.beside()); err != nil {
		return err
	}
	if err := checkExternal(i.Metadata, r.cluster.allowed, client.beside()); err != nil {
		return err
	}
	if !hostAllowed(i.HostName, r.cluster.allowed) {
		return fmt.Errorf("hostName %s is not among eureka.allowedHosts", i.HostName)
	}
	return nil
}

// publish makes the snapshot of what is used.
func (r *clusterReader) publish(now time.Time) {
	if len(r.held) > 0 && !now.Before(r.until) {
		r.held = nil
	}
	c := r.cluster
	instances, refused, told := []*Instance{}, 0, map[string]bool{}
	for _, all := range []map[leaseKey]*Instance{r.all, r.held} {
		for key, i := range all {
			switch {
			case i.problem != nil:
				refused++
				r.tell(told, key, i.problem)
			case c.own == nil || key != (leaseKey{c.own.App, c.own.ID}):
				instances = append(instances, i)
			}
		}
	}
	r.told = told
	slices.SortFunc(instances, func(a, b *Instance) int {
		return cmp.Or(strings.Compare(a.App, b.App), cmp.Compare(a.Order, b.Order))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Instances, c.status.Refused = len(instances), refused
	alike := slices.EqualFunc(c.instances, instances, translatesAlike)
	c.instances = instances
	if alike {
		return
	}
	c.generation++
	select {
	case c.changed <- struct{}{}:
	default: // one pending signal is enough
	}
}

// tell logs each problem when it is new.
func (r *clusterReader) tell(told map[string]bool, key leaseKey, problem error) {
	what := key.app + "\x00" + key.id + "\x00" + problem.Error()
	if len(told) >= maxTold {
		return
	}
	told[what] = true
	if !r.told[what] {
		r.cluster.log.Warn("instance of the eureka cluster not used", "service", quoted(strings.ToLower(key.app)), "instance", quoted(key.id), "reason", problem.Error())
	}
}

func (c *Cluster) count(f func(*ClusterStatus)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.status)
}
