package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// bindInterval is how soon a listener that could not be bound is tried again.
const bindInterval = time.Second

// A dynamic is what a listener has that tables ask for. What it serves is in the table of each connection and request.
type dynamic struct {
	key       string          // route.Listener.Key. Constant
	transport route.Transport // constant
	bound     netip.AddrPort  // constant
	http2     *h2Server       // ends with it; nil for UDP. Constant
	found     atomic.Pointer[found]
	gone      atomic.Bool // no table asks for it any more
}

// found is where a listener is in a table.
type found struct {
	table   *route.Table
	at      *route.Listener // nil: it is not in there
	passes  bool            // TLS passes through for a host of at
	configs sync.Map        // *route.Host of at to *tls.Config
}

// find looks for the listener in t. Of one table the answer is kept.
func (d *dynamic) find(t *route.Table) *found {
	if f := d.found.Load(); f != nil && f.table == t {
		return f
	}
	f := &found{table: t}
	for _, l := range t.Listeners {
		if l.Transport == d.transport && l.Key() == d.key {
			f.at = l
			f.passes = slices.ContainsFunc(l.Hosts, func(h *route.Host) bool { return h.TLS == nil })
			break
		}
	}
	d.found.Store(f)
	return f
}

// gone tells whether the listener is being closed although the gateway goes on.
func (l *listener) gone() bool { return l.dynamic != nil && l.dynamic.gone.Load() }

// ending tells whether a connection is to end after what is under way on it.
func (s *Server) ending(c *clientConn) bool { return s.stopping.Load() || c.listener.gone() }

// programmed are the listeners that tables ask for. Guarded by Server.programming.
type programmed struct {
	wanted  []*route.Listener
	open    map[string]*listener // by key
	leaving []*listener          // closed, and some of their connections are still served
	unbound map[string]error     // of wanted, by key
	retry   *time.Timer          // nil: nothing to retry
	ended   bool
}

func (p *programmed) all() []*listener {
	return append(slices.Collect(maps.Values(p.open)), p.leaving...)
}

// Program opens the listeners that t asks for and closes those that it does not ask for any more: their requests under way
// end well, and sessions live on. What stays is not touched. It returns what could not be bound, by route.Listener.Key; that
// is tried again until it succeeds. Listen comes before.
func (s *Server) Program(t *route.Table) (unbound map[string]error) {
	s.programming.Lock()
	defer s.programming.Unlock()
	p := &s.programmed
	if p.ended {
		return nil
	}
	wanted := make(map[string]*route.Listener, len(t.Listeners))
	for _, l := range t.Listeners {
		wanted[l.Key()] = l
	}
	var leaving []*listener
	for key, l := range p.open {
		if w := wanted[key]; w == nil || w.Transport != l.dynamic.transport {
			leaving = append(leaving, l)
			delete(p.open, key)
		}
	}
	p.wanted = t.Listeners
	s.retire(leaving)
	s.bindWanted()
	return maps.Clone(p.unbound)
}

// bindWanted binds what is wanted and not open, says what could not be, and sees to it that it is tried again.
func (s *Server) bindWanted() {
	p := &s.programmed
	before := p.unbound
	p.unbound = make(map[string]error)
	for _, w := range p.wanted {
		key := w.Key()
		if p.open[key] != nil {
			continue
		}
		l, err := s.bindDynamic(w)
		if err == nil {
			if p.open == nil {
				p.open = make(map[string]*listener)
			}
			p.open[key] = l
			s.Log.Info("listener opened", "listener", w.Name, "address", key)
			continue
		}
		p.unbound[key] = err
		if before[key] == nil || before[key].Error() != err.Error() {
			s.Log.Warn("listener not opened", "listener", w.Name, "address", key, "err", err)
		}
	}
	if p.retry != nil {
		p.retry.Stop() // one at a time, however many tables come
	}
	if len(p.unbound) > 0 {
		p.retry = time.AfterFunc(bindInterval, s.bindAgain)
	}
	if s.Unbound != nil && !maps.EqualFunc(before, p.unbound, func(a, b error) bool { return a.Error() == b.Error() }) {
		s.Unbound(maps.Clone(p.unbound))
	}
}

// bindAgain tries what could not be bound.
func (s *Server) bindAgain() {
	s.programming.Lock()
	defer s.programming.Unlock()
	if p := &s.programmed; !p.ended && len(p.unbound) > 0 {
		s.bindWanted()
	}
}

// bindDynamic opens a listener and has it served.
func (s *Server) bindDynamic(w *route.Listener) (*listener, error) {
	if err := s.taken(w); err != nil {
		return nil, err
	}
	l := &listener{
		config: ListenerConfig{Name: w.Name, Address: w.BindAddress()}, http1: s.http1Options(),
		dynamic: &dynamic{key: w.Key(), transport: w.Transport},
	}
	if w.Transport == route.TransportUDP {
		return l, s.openUDP(l, w)
	}
	var err error
	if l.dynamic.http2, err = newH2Server(l.http1.HeadLimit, s.stdLog); err != nil {
		return nil, err
	}
	if w.Transport == route.TransportTLS {
		l.tls = s.listenerTLS(l)
	}
	if l.ln, err = upstream.Listen(context.Background(), l.config.Address); err != nil {
		return nil, bindError(err)
	}
	l.dynamic.bound = boundAddress(l.ln)
	polled := false
	if w.Transport != route.TransportTCP {
		if polled, err = s.poll(l); err != nil {
			_ = l.ln.Close()
			return nil, err
		}
	}
	if !polled {
		s.accepting.Go(func() {
			if err := s.accept(l); err != nil {
				s.Log.Error("listener failed", "listener", l.config.Name, "err", err)
			}
		})
	}
	return l, nil
}

// close ends accepting, where no loop does that, and the flows of UDP.
func (l *listener) close() {
	if l.udp != nil {
		l.udp.close()
		return
	}
	_ = l.ln.Close()
}

// taken says that another listener of this process has the address.
func (s *Server) taken(w *route.Listener) error {
	if w.Transport == route.TransportUDP {
		return nil
	}
	for _, l := range s.listeners {
		if overlap(w.Address, boundAddress(l.ln)) {
			return fmt.Errorf("address %s: listener %q of gateway.listeners has it", w.BindAddress(), l.config.Name)
		}
	}
	for _, l := range s.programmed.open {
		if l.dynamic.transport != route.TransportUDP && overlap(w.Address, l.dynamic.bound) {
			return fmt.Errorf("address %s: listener %s has it", w.BindAddress(), l.config.Name)
		}
	}
	return nil
}

// overlap tells whether a socket at b keeps another from a. An address that is not valid, or unspecified, is every interface.
func overlap(a, b netip.AddrPort) bool {
	if a.Port() == 0 || a.Port() != b.Port() {
		return false
	}
	every := func(a netip.AddrPort) bool { return !a.Addr().IsValid() || a.Addr().IsUnspecified() }
	return every(a) || every(b) || a.Addr().Unmap() == b.Addr().Unmap()
}

func boundAddress(ln net.Listener) netip.AddrPort {
	a, _ := ln.Addr().(*net.TCPAddr)
	return a.AddrPort()
}

// bindError is what an operator is told: without the name of the system call, which says nothing more.
func bindError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		return fmt.Errorf("address %s: %w", op.Addr, op.Err)
	}
	return err
}

// retire closes listeners. Their connections that wait for a request are closed, the others after what is under way.
func (s *Server) retire(leaving []*listener) {
	p := &s.programmed
	p.leaving = slices.DeleteFunc(p.leaving, func(l *listener) bool { return l.front.Open() == 0 })
	if len(leaving) == 0 {
		return
	}
	for _, l := range leaving {
		l.dynamic.gone.Store(true)
		l.close()
		s.Log.Info("listener closed", "listener", l.config.Name, "address", l.dynamic.key)
	}
	var polled []*listener
	for _, l := range leaving {
		if l.polled != nil {
			polled = append(polled, l)
		}
	}
	s.stopFronts(polled)
	p.leaving = append(p.leaving, polled...)
	s.sayGoAway(leaving)
	var idle []net.Conn
	s.mu.Lock()
	for c := range s.open {
		if c.listener.gone() && c.state.CompareAndSwap(connIdle, connEnded) {
			idle = append(idle, c.conn)
		}
	}
	s.mu.Unlock()
	closeAll(idle)
}

// sayGoAway ends the HTTP/2 connections of listeners, each after what is under way on it. It does not wait.
func (s *Server) sayGoAway(listeners []*listener) {
	for _, l := range listeners {
		if h := l.dynamic.http2; h != nil {
			_ = h.base.Shutdown(context.Background())
		}
	}
}

// endProgram closes the listeners for a shutdown: nothing is opened any more.
func (s *Server) endProgram() {
	s.programming.Lock()
	defer s.programming.Unlock()
	p := &s.programmed
	p.ended = true
	if p.retry != nil {
		p.retry.Stop()
	}
	for _, l := range p.open {
		l.close()
	}
}
