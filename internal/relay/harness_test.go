package relay_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// engine runs all sessions of the tests: epoll where there is one, unless FAIRLEAD_ENGINE says pump.
var engine = loop.Open(loop.Options{})

type tests struct{ *testing.M }

func (m tests) Run() int {
	defer engine.Close()
	return m.M.Run()
}

// The suite runs over the other engine, too, but for what meets no engine: the worlds of scripted peers.
func TestOverPumps(t *testing.T) {
	if os.Getenv("FAIRLEAD_ENGINE") != "" || runtime.GOOS != "linux" || testing.Short() {
		t.Skip("one engine only")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=9m", "-test.skip=^(TestDeath|TestEdges|Fuzz)")
	cmd.Env = append(os.Environ(), "FAIRLEAD_ENGINE=pump")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// patience bounds every wait of a test. It is only a safety net: a slow machine moves the largest transfers in a few seconds.
const patience = time.Minute

// An owner notes what its session tells it.
type owner struct {
	t       testing.TB
	verdict relay.Verdict
	session *relay.Session // if the rig notes it
	lost    atomic.Int32
	why     string
	calls   atomic.Int32
	done    chan relay.Result
}

func (o *owner) Lost(_ *relay.Session, loss relay.Loss) relay.Verdict {
	o.lost.Add(1)
	o.why = loss.Cause
	return o.verdict
}

func (o *owner) Moved(*relay.Session, uint32, bool) {}

func (o *owner) Done(_ *relay.Session, r *relay.Result) {
	if o.calls.Add(1) > 1 {
		o.t.Error("Done was called twice")
		return
	}
	o.done <- *r
}

func (o *owner) result() relay.Result {
	o.t.Helper()
	select {
	case r := <-o.done:
		return r
	case <-time.After(patience):
		o.t.Fatal("session did not end")
		return relay.Result{}
	}
}

// A rig is one session between two connections that the test holds the far ends of.
type rig struct {
	t        testing.TB
	client   *peer
	upstream *peer
	owner    *owner
	session  *relay.Session
}

type rigOptions struct {
	policy                 relay.Policy
	clientHead, upHead     []byte
	tlsClient, tlsUpstream bool
	deflate                bool
	verdict                relay.Verdict
	smallBuffers           bool
	pipeClient             bool              // it is not over TCP
	engine                 *loop.Engine      // nil: that of all tests
	done                   chan relay.Result // nil: one of its own
	by                     *mover            // nil: an owner that never moves
}

func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	if o.policy.CloseTimeout == 0 {
		o.policy.CloseTimeout = 2 * time.Second
	}
	if o.engine == nil {
		o.engine = engine
	}
	l := o.engine.Loop()
	cOuter, cInner := pair(t, o.tlsClient, o.smallBuffers)
	if o.pipeClient {
		_, _ = cOuter.Close(), cInner.Close()
		cOuter, cInner = net.Pipe()
	}
	uOuter, uInner := pair(t, o.tlsUpstream, o.smallBuffers)
	r := &rig{
		t:        t,
		client:   &peer{t: t, Conn: cOuter, mask: true},
		upstream: &peer{t: t, Conn: uOuter},
		owner:    &owner{t: t, done: make(chan relay.Result, 1), verdict: o.verdict},
	}
	client := relay.Side{Stream: loop.Attach(l, cInner), Head: o.clientHead, Deflate: o.deflate}
	up := relay.Side{Stream: loop.Attach(l, uInner), Head: o.upHead, Deflate: o.deflate}
	if o.done != nil {
		r.owner.done = o.done
	}
	var by relay.Owner = r.owner
	if o.by != nil {
		r.owner, by = &o.by.owner, o.by
	}
	r.session = relay.Start(l, client, up, &o.policy, by)
	t.Cleanup(func() {
		_ = cOuter.Close()
		_ = uOuter.Close()
	})
	return r
}

// pair returns the two ends of a connection over loopback.
func pair(t testing.TB, secure, small bool) (outer, inner net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	outer, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	inner, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if small { // not smaller: a window below the segment size of loopback is opened by a timer only
		_ = outer.(*net.TCPConn).SetReadBuffer(128 << 10)
		_ = inner.(*net.TCPConn).SetWriteBuffer(64 << 10)
	}
	if !secure {
		return outer, inner
	}
	c := tls.Client(outer, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // both ends are ours
	s := tls.Server(loop.Wrap(inner), &tls.Config{Certificates: []tls.Certificate{certificate()}})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Handshake() })
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return c, s
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// A peer is the far end of one side. It speaks raw bytes.
type peer struct {
	t testing.TB
	net.Conn
	mask bool // a client
}

func (p *peer) frame(op websocket.Opcode, fin bool, payload string) []byte {
	var m *[4]byte
	if p.mask {
		m = &[4]byte{0x11, 0x22, 0x33, 0x44}
	}
	return websocket.AppendFrame(nil, op, fin, m, []byte(payload))
}

func (p *peer) text(s string) []byte { return p.frame(websocket.OpText, true, s) }

func (p *peer) closeFrame(code websocket.Code, reason string) []byte {
	var m *[4]byte
	if p.mask {
		m = &[4]byte{5, 6, 7, 8}
	}
	return websocket.AppendClose(nil, m, code, reason)
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// expect reads exactly the bytes of want.
func (p *peer) expect(want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(p, got); err != nil {
		p.t.Fatalf("read: %v after %x, want %x", err, got[:n], want)
	}
	if string(got) != string(want) {
		p.t.Fatalf("got  %.80x\nwant %.80x", got, want)
	}
}

// next reads one frame.
func (p *peer) next() (websocket.Header, []byte) {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	var buf []byte
	for {
		h, n, err := websocket.ParseHeader(buf)
		if err != nil {
			p.t.Fatal(err)
		}
		need := n + int(h.Length)
		if n == 0 {
			need = len(buf) + 1
		} else if len(buf) == need {
			return h, websocket.AppendPayload(nil, buf)
		}
		at := len(buf)
		buf = append(buf, make([]byte, need-at)...)
		if k, err := io.ReadFull(p, buf[at:]); err != nil {
			p.t.Fatalf("read: %v after %x", err, buf[:at+k])
		}
	}
}

func (p *peer) expectClose(code websocket.Code, reason string) {
	p.t.Helper()
	h, payload := p.next()
	if h.Opcode != websocket.OpClose {
		p.t.Fatalf("got opcode %d %q, want a Close", h.Opcode, payload)
	}
	if h.Masked == p.mask {
		p.t.Fatalf("Close masked: %v", h.Masked)
	}
	c, r, err := websocket.ParseClose(payload)
	if err != nil || c != code || r != reason {
		p.t.Fatalf("got Close %d %q %v, want %d %q", c, r, err, code, reason)
	}
}

// expectEnd reads the end: FIN, or with reset RST.
func (p *peer) expectEnd(reset bool) {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(p)
	if len(rest) > 0 {
		p.t.Fatalf("before the end came %.100x", rest)
	}
	if got := errors.Is(err, syscall.ECONNRESET); got != reset || err != nil && !reset {
		p.t.Fatalf("end: %v, want reset %v", err, reset)
	}
}

func (p *peer) fin() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) reset() {
	p.t.Helper()
	c := p.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func (r *rig) expectResult(code websocket.Code, by relay.By, cause string) relay.Result {
	r.t.Helper()
	res := r.owner.result()
	if res.Code != code || res.By != by || res.Cause != cause {
		r.t.Fatalf("result %d %q by %q cause %q, want %d by %q cause %q", res.Code, res.Reason, res.By, res.Cause, code, by, cause)
	}
	return res
}
