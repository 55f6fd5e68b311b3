package proxy

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Bounds of a UDP listener.
const (
	maxFlows     = 8192        // at once; one more ends the one that has been silent for longest
	flowIdle     = time.Minute // of silence both ways end a flow, or the policy's idleTimeout if that is less
	flowPenance  = time.Second // for which a client that nothing can be done for is not heard again
	maxDatagram  = 64 << 10    // bytes
	maxKept      = 16          // datagrams that are kept until the first answer
	maxKeptBytes = 8 << 10     // of them
	udpReceive   = 1 << 20     // bytes that the kernel keeps for a listener, if it lets us
	controlSize  = 64          // bytes of control messages of one datagram
)

var errCrowded = errors.New("too many flows: it was silent for longest")

// datagrams is a UDP listener. Each client has a flow: a socket of its own to one endpoint (UDPRoute).
type datagrams struct {
	s        *Server
	l        *listener
	conn     *net.UDPConn
	wildcard bool // it is bound to more than one address: answers have to say theirs

	mu     sync.Mutex // guards the following
	flows  map[flowKey]*flow
	silent list.List // of *flow: who has been silent for longest is last
	most   int       // of them; maxFlows, less in tests

	warned time.Time // when limits.connections was last logged

	penance time.Duration // flowPenance, less in tests
	closed  bool
}

// A flowKey is a client, and the address at which it has found us.
type flowKey struct {
	client netip.AddrPort
	at     netip.Addr // not valid where the socket has only one
}

// A flow is one client's datagrams to one endpoint, and back.
type flow struct {
	d       *datagrams
	key     flowKey
	control []byte // sends answers from key.at
	began   time.Time
	penance time.Duration
	ctx     context.Context // until end
	cancel  context.CancelFunc

	in, out  atomic.Int64 // bytes from and to the client
	last     atomic.Int64 // when a datagram came or went, in ns
	answered atomic.Bool  // by an endpoint
	refused  atomic.Bool  // by the endpoint, as a Write has learnt

	at *list.Element // guarded by datagrams.mu

	mu      sync.Mutex // guards the following
	service *net.UDPConn
	kept    [][]byte // sent again where an endpoint refuses before it has answered
	size    int      // bytes of kept
	keeping bool
	ended   bool
	why     error
}

// openUDP binds a listener.
func (s *Server) openUDP(l *listener, w *route.Listener) error {
	network := "udp"
	if w.Address.Addr().Is4() {
		network = "udp4" // 0.0.0.0 means what it says, and not [::] too
	}
	d := &datagrams{s: s, l: l, flows: make(map[flowKey]*flow), most: maxFlows, penance: flowPenance, wildcard: !w.Address.Addr().IsValid() || w.Address.Addr().IsUnspecified()}
	lc := net.ListenConfig{}
	if d.wildcard {
		lc.Control = tellDestination
	}
	pc, err := lc.ListenPacket(context.Background(), network, w.BindAddress())
	if err != nil {
		return bindError(err)
	}
	d.conn = pc.(*net.UDPConn)
	_ = d.conn.SetReadBuffer(udpReceive) // less will do
	l.udp = d
	s.accepting.Go(d.receive)
	return nil
}

// close ends the listener and its flows.
func (d *datagrams) close() {
	d.mu.Lock()
	d.closed = true
	for _, f := range d.flows {
		f.end(nil)
	}
	d.mu.Unlock()
	_ = d.conn.Close()
}

// receive gives each datagram to its flow, until close.
func (d *datagrams) receive() {
	buf, control := make([]byte, maxDatagram), make([]byte, controlSize)
	for {
		n, c, _, from, err := d.conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(leastPause) // out of memory, or an error of another datagram
			continue
		}
		if f := d.flow(from, control[:c]); f != nil {
			f.send(buf[:n])
		}
	}
}

// flow finds the flow of a client, or begins one; nil: there is to be none.
func (d *datagrams) flow(from netip.AddrPort, control []byte) *flow {
	key := flowKey{client: from}
	if d.wildcard {
		key.at = destination(control)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flows[key]; f != nil {
		d.silent.MoveToFront(f.at)
		return f
	}
	if d.closed {
		return nil
	}
	if len(d.flows) >= d.most {
		oldest := d.silent.Back().Value.(*flow)
		d.forget(oldest)
		oldest.end(errCrowded)
	}
	if !d.s.takePlace() {
		if now := time.Now(); now.Sub(d.warned) >= time.Second { // a flood is worth a line, not one for each datagram
			d.warned = now
			d.s.refusal(from)
		}
		return nil
	}
	f := &flow{d: d, key: key, control: answerFrom(control), began: time.Now(), penance: d.penance, keeping: true}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.last.Store(f.began.UnixNano())
	f.at = d.silent.PushFront(f)
	d.flows[key] = f
	d.s.accepting.Go(f.run)
	return f
}

// forget has a later datagram begin another flow. The caller holds mu.
func (d *datagrams) forget(f *flow) {
	if d.flows[f.key] == f {
		delete(d.flows, f.key)
		d.silent.Remove(f.at)
	}
}

// run is the life of a flow: find, choose, answer, log.
func (f *flow) run() {
	d, s := f.d, f.d.s
	defer s.release()
	rec := accesslog.Record{Time: f.began, Client: unmapped(f.key.client).String(), Protocol: protocolUDP}
	if err := f.serve(&rec); err != nil && f.ctx.Err() == nil {
		f.refuse(err)
		if !f.answered.Load() { // nothing can be done for this client: what it sends now is not worth a line each
			select {
			case <-time.After(f.penance):
			case <-f.ctx.Done():
			}
		}
	}
	d.mu.Lock()
	d.forget(f)
	d.mu.Unlock()
	f.end(nil)
	rec.BytesIn, rec.BytesOut, rec.Duration = f.in.Load(), f.out.Load(), time.Since(f.began)
	switch why := f.cause(); {
	case why != nil:
		rec.Cause = why.Error()
	case s.stopping.Load():
		rec.Cause = causeShutdown
	}
	s.tally.carry(&rec)
	s.AccessLog.Log(&rec)
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// serve carries the flow to an endpoint, to the next one if that refuses before it has answered.
func (f *flow) serve(rec *accesslog.Record) error {
	host := f.d.l.dynamic.find(f.d.s.Table()).host("")
	if host == nil {
		return errNoStream
	}
	stream := host.Stream("")
	if stream == nil {
		return errNoStream
	}
	rec.Route = stream.ID
	to := stream.Choose()
	if to == nil || to.Invalid != "" {
		return errNoBackend
	}
	rec.Service = to.Name
	p := stream.PolicyFor(to)
	idle := flowIdle
	if of := p.Limits().Idle; of > 0 {
		idle = min(idle, of)
	}
	var tried []*upstream.Endpoint
	var failed error
	for range maxAttempts {
		ep, err := to.Service.Take(p.Choice(true), tried...)
		if err != nil {
			if failed != nil {
				err = failed
			}
			return err
		}
		rec.Instance, rec.Backend = ep.ID, ep.Address()
		err = f.reach(ep, p, idle)
		ep.Release()
		if err == nil || f.answered.Load() {
			return err
		}
		f.d.s.Log.Warn("endpoint not reached", "service", to.Service.Name, "instance", ep.ID, "err", err)
		failed, tried = err, append(tried, ep)
	}
	return failed
}

// reach serves the flow at ep until it ends.
func (f *flow) reach(ep *upstream.Endpoint, p *route.Policy, idle time.Duration) error {
	dialer := net.Dialer{Timeout: p.Timeouts.Effective().Connect, Resolver: f.d.s.settings.Load().upstream.Resolver}
	c, err := dialer.DialContext(f.ctx, "udp", ep.Address())
	if err != nil {
		return &upstream.DialError{Op: upstream.OpConnect, Endpoint: ep.Address(), Err: err}
	}
	service := c.(*net.UDPConn)
	defer service.Close() //nolint:errcheck // nothing is left to be said
	if !f.attach(service) {
		return nil
	}
	return f.answers(service, idle)
}

// attach makes service what the client's datagrams go to, those first that it has sent already.
func (f *flow) attach(service *net.UDPConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.service = service
	f.refused.Store(false)
	for _, p := range f.kept {
		f.write(service, p)
	}
	return true
}

// write sends to the endpoint. Whichever call is next learns that an earlier datagram was refused (udp(7)): answers has to know.
func (f *flow) write(service *net.UDPConn, p []byte) {
	if _, err := service.Write(p); errors.Is(err, syscall.ECONNREFUSED) {
		f.refused.Store(true)
		_ = service.SetReadDeadline(time.Unix(1, 0))
	}
}

// send passes a datagram of the client's on. If it cannot be sent it is lost, as datagrams are.
func (f *flow) send(p []byte) {
	f.in.Add(int64(len(p)))
	f.last.Store(time.Now().UnixNano())
	f.mu.Lock()
	service := f.service
	if f.keeping = f.keeping && len(f.kept) < maxKept && f.size+len(p) <= maxKeptBytes; f.keeping {
		f.kept = append(f.kept, append([]byte(nil), p...))
		f.size += len(p)
	}
	f.mu.Unlock()
	if service != nil {
		f.write(service, p)
	}
}

// answers passes the endpoint's datagrams on, until neither side has sent one for idle. The error is that the endpoint refuses.
func (f *flow) answers(service *net.UDPConn, idle time.Duration) error {
	read, err := whenReady(service)
	if err != nil {
		return err
	}
	for {
		_ = service.SetReadDeadline(time.Unix(0, f.last.Load()).Add(idle))
		if f.refused.Load() { // behind the deadline, which write may have set before
			return syscall.ECONNREFUSED
		}
		buf, n, err := read()
		switch {
		case err == nil:
			f.answer((*buf)[:n])
			largeBuffers.Put(buf)
		case errors.Is(err, net.ErrClosed):
			return nil // end
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case time.Now().UnixNano()-f.last.Load() >= int64(idle):
			return nil
		}
	}
}

// largeBuffers are used while a datagram, or a piece of what is carried, passes.
var largeBuffers = sync.Pool{New: func() any {
	b := make([]byte, maxDatagram)
	return &b
}}

// answer sends a datagram to the client. If it cannot be sent it is lost.
func (f *flow) answer(p []byte) {
	f.out.Add(int64(len(p)))
	f.last.Store(time.Now().UnixNano())
	if !f.answered.Swap(true) {
		f.mu.Lock()
		f.kept, f.keeping = nil, false
		f.mu.Unlock()
	}
	_, _, _ = f.d.conn.WriteMsgUDPAddrPort(p, f.control, f.key.client)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.flows[f.key] == f {
		f.d.silent.MoveToFront(f.at)
	}
}

// refuse has what the client sends go nowhere.
func (f *flow) refuse(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.service, f.kept, f.keeping = nil, nil, false
	if f.why == nil {
		f.why = why
	}
}

// end ends the flow; why may be nil. Any goroutine, any number of times.
func (f *flow) end(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended = true
	if f.why == nil {
		f.why = why
	}
	f.cancel()
	if f.service != nil {
		_ = f.service.Close()
	}
}

func (f *flow) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}
