package loop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stepped returns a Loop with a poller whose thread is the test.
func stepped(t *testing.T) *Loop {
	t.Helper()
	l, err := newPolled()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.p.close(l) })
	return l
}

// poll waits until there are events, and does not dispatch them.
func poll(t *testing.T, l *Loop) []unix.EpollEvent {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if n := l.p.poll(); n > 0 {
			return l.p.events[:n]
		}
	}
	t.Fatal("no event")
	return nil
}

// An event that was taken before its stream went is for nobody, also when another stream has its slot by then. And the
// descriptor is not free before the batch has ended.
func TestStaleEvent(t *testing.T) {
	l := stepped(t)
	outer, inner := tcpPair(t)
	defer outer.Close()
	s := Attach(l, inner).(*socket)
	s.Handle(handler(func(Events) { t.Error("event of a closed stream") }))
	if _, err := outer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	batch := append([]unix.EpollEvent(nil), poll(t, l)...)
	old, fd := s.slot, s.fd
	s.Close()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Fatalf("closed within the batch: %v", err)
	}
	outer2, inner2 := tcpPair(t)
	defer outer2.Close()
	s2 := Attach(l, inner2).(*socket)
	s2.Handle(handler(func(Events) { t.Error("event of another stream") }))
	if s2.slot != old {
		t.Fatalf("slot %d, want %d again", s2.slot, old)
	}
	for i := range batch {
		l.p.dispatch(&batch[i])
	}
	if l.p.stale != 1 {
		t.Errorf("%d stale events", l.p.stale)
	}
	l.p.bury()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("not closed after the batch")
	}
	s2.Abort()
}

// Whatever comes due while the loop stalls, what has come by then is read first, in however many batches.
func TestStall(t *testing.T) {
	l := engine(t, Options{Loops: 1}).Loop()
	type guarded struct {
		timer *Timer
		outer net.Conn
	}
	all := make([]guarded, 2*batchSize+10)
	told := make(chan bool, len(all))
	for i := range all {
		outer, inner := tcpPair(t)
		defer outer.Close()
		g := &all[i]
		g.outer = outer
		on(t, l, func() {
			s := Attach(l, inner)
			g.timer = l.NewTimer(func() { told <- false })
			s.Handle(handler(func(ev Events) {
				if ev&Readable == 0 {
					return
				}
				var buf [8]byte
				if n, _ := s.Read(buf[:]); n > 0 {
					g.timer.Stop()
					told <- true
				}
			}))
		})
	}
	on(t, l, func() {
		for i := range all {
			all[i].timer.Reset(tickTime)
			if _, err := all[i].outer.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}
		for time.Since(l.start) < all[len(all)-1].timer.Due()+2*tickTime { // a stall
			runtime.Gosched()
		}
	})
	late := 0
	for range all {
		if !wait(t, told) {
			late++
		}
	}
	if late > 0 {
		t.Errorf("of %d streams %d were judged before what had come was read", len(all), late)
	}
}

// A short read tells that there is no more, without another system call; an end that came with it is not missed.
func TestShortRead(t *testing.T) {
	l := stepped(t)
	outer, inner := tcpPair(t)
	defer outer.Close()
	s := Attach(l, inner).(*socket)
	told := 0
	s.Handle(handler(func(ev Events) {
		if ev&Readable != 0 {
			told++
		}
	}))
	dispatch := func() {
		batch := poll(t, l)
		for i := range batch {
			l.p.dispatch(&batch[i])
		}
	}
	buf := make([]byte, 100)
	if _, err := outer.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	for told == 0 {
		dispatch()
	}
	if n, err := s.Read(buf); n != 3 || err != ErrAgain { //nolint:errorlint // it is promised as it is
		t.Errorf("read %d, %v", n, err)
	}
	if _, err := outer.Write([]byte("de")); err != nil {
		t.Fatal(err)
	}
	_ = outer.Close()
	for told == 1 || !s.drain {
		dispatch()
	}
	if n, err := s.Read(buf); n != 2 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := s.Read(buf); n != 0 || err != io.EOF { //nolint:errorlint // it is promised as it is
		t.Errorf("read %d, %v", n, err)
	}
	s.Close()
	l.p.bury()
}

// The engine pumps TLS if its self-test fails, and polls what is plain.
func TestSelfTestFails(t *testing.T) {
	l := engine(t, Options{Loops: 1, selfTest: func() error { return errors.New("not as it was") }}).Loop()
	for _, pair := range []func(*testing.T) (net.Conn, net.Conn){tlsPair, tcpPair} {
		outer, inner := pair(t)
		defer outer.Close()
		s := Attach(l, inner)
		_, secure := inner.(*tls.Conn)
		if _, pumped := s.(*connPump); pumped != secure {
			t.Errorf("%T is a %T", inner, s)
		}
		// And it works.
		echoed := make(chan struct{})
		on(t, l, func() {
			s.Handle(drain(s, func(p []byte) { _, _ = s.Write(p) }, func(error) { close(echoed) }))
		})
		if _, err := outer.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(outer, got); err != nil || string(got) != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
		_ = outer.Close()
		wait(t, echoed)
		on(t, l, s.Close)
	}
}

// The layout is found out, not assumed: a wrong one fails the self-test.
func TestSelfTestFindsWrongLayout(t *testing.T) {
	at, err := findLayout()
	if err != nil {
		t.Fatal(err)
	}
	if err := selfTest(&at); err != nil {
		t.Fatal(err)
	}
	if err := selfTest(&layout{rawInput: at.hand, hand: at.hand}); err == nil {
		t.Error("passed")
	}
}

// What an idle session keeps is known.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(socket{}); n > 48 {
		t.Errorf("socket: %d bytes", n)
	}
	if n := unsafe.Sizeof(tlsStream{}); n > 256 {
		t.Errorf("tlsStream: %d bytes", n)
	}
	if n := unsafe.Sizeof(Timer{}); n > 64 {
		t.Errorf("Timer: %d bytes", n)
	}
}

// A sealer is the sending half of TLS 1.3 in the test's hands (RFC 8446, section 5.2), AES-128-GCM with SHA-256.
type sealer struct {
	t      *testing.T
	secret []byte
	seq    uint64
}

func (s *sealer) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, s.secret, string(append(info, 0)), n)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *sealer) record(kind byte, payload []byte) []byte {
	block, err := aes.NewCipher(s.expand("key", 16))
	if err != nil {
		s.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		s.t.Fatal(err)
	}
	nonce := s.expand("iv", 12)
	for i, b := range binary.BigEndian.AppendUint64(nil, s.seq) {
		nonce[4+i] ^= b
	}
	s.seq++
	inner := append(append([]byte{}, payload...), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+16))
	return aead.Seal(head, nonce, inner, head)
}

func (s *sealer) data(text string) []byte { return s.record(23, []byte(text)) }

// keyUpdate asks for an update in return, too.
func (s *sealer) keyUpdate() []byte {
	rec := s.record(22, []byte{24, 0, 0, 1, 1})
	s.secret, s.seq = s.expand("traffic upd", 32), 0
	return rec
}

// sealed returns a probe whose peer's records the test makes itself.
func sealed(t *testing.T) (*Loop, *tlsStream, *tls.Conn, *sealer) {
	t.Helper()
	o, i := tcpPair(t)
	t.Cleanup(func() { o.Close() })
	var keys bytes.Buffer
	c := tls.Client(o, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &keys}) //nolint:gosec // both ends are ours
	s := tls.Server(Wrap(i), &tls.Config{Certificates: []tls.Certificate{certificate()}})
	shaken := make(chan error, 1)
	go func() { shaken <- c.Handshake() }()
	if err := errors.Join(s.Handshake(), wait(t, shaken)); err != nil {
		t.Fatal(err)
	}
	if c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("another cipher suite")
	}
	seal := &sealer{t: t}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			seal.secret, _ = hex.DecodeString(f[2])
		}
	}
	l := engine(t, Options{Loops: 1}).Loop()
	return l, Attach(l, s).(*tlsStream), c, seal
}

// KeyUpdates are answered, wherever they are cut, and data goes on both ways.
func TestKeyUpdate(t *testing.T) {
	l, s, peer, seal := sealed(t)
	got := make(chan string, 100)
	on(t, l, func() { s.Handle(drain(s, func(p []byte) { got <- string(p) }, func(error) {})) })
	wire := append(seal.data("before"), seal.keyUpdate()...)
	wire = append(append(wire, seal.data("between")...), seal.keyUpdate()...)
	wire = append(wire, seal.data("after")...)
	for i := range wire {
		if _, err := raw(peer).Write(wire[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for text := ""; text != "beforebetweenafter"; {
		if text += wait(t, got); !strings.HasPrefix("beforebetweenafter", text) {
			t.Fatalf("got %q", text)
		}
	}
	on(t, l, func() {
		if _, err := s.Write([]byte("answer")); err != nil {
			t.Errorf("write: %v", err)
		}
	})
	answer := make([]byte, 6)
	_ = peer.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(peer, answer); err != nil || string(answer) != "answer" {
		t.Errorf("got %q, %v", answer, err)
	}
	on(t, l, s.Abort)
}

// A peer that asks for answers of crypto/tls and never reads them fills no memory.
func TestKeyUpdateFlood(t *testing.T) {
	l, s, peer, seal := sealed(t)
	end := make(chan error, 1)
	most := 0
	on(t, l, func() {
		_ = unix.SetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		s.Handle(drain(s, func([]byte) { most = max(most, s.Queued()) }, func(err error) { end <- err }))
		for s.Queued() == 0 {
			if _, err := s.Write(make([]byte, 1000)); err != nil {
				t.Errorf("write: %v", err)
				break
			}
		}
	})
	var ended error
	flood := append(seal.keyUpdate(), seal.data("x")...)
	for until := time.Now().Add(patience); ended == nil && time.Now().Before(until); { // the kernel takes some of the answers
		_ = raw(peer).SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = raw(peer).Write(flood)
		flood = append(seal.keyUpdate(), seal.data("x")...)
		select {
		case ended = <-end:
		default:
		}
	}
	if ended == nil {
		ended = wait(t, end)
	}
	if !errors.Is(ended, errAnswers) {
		t.Errorf("end: %v", ended)
	}
	on(t, l, func() {
		if most > 32<<10 {
			t.Errorf("%d bytes queued", most)
		}
		s.Abort()
	})
}

// FIN without close_notify is a connection that was cut off; close_notify is an end.
func TestTruncatedBetweenRecords(t *testing.T) {
	for notify, want := range map[bool]error{false: ErrTruncated, true: io.EOF} {
		outer, inner := tlsPair(t)
		l := engine(t, Options{Loops: 1}).Loop()
		s := Attach(l, inner)
		end := make(chan error, 1)
		var got []byte
		on(t, l, func() { s.Handle(drain(s, func(p []byte) { got = append(got, p...) }, func(err error) { end <- err })) })
		_, _ = outer.Write([]byte("last words"))
		if notify {
			_ = outer.(*tls.Conn).CloseWrite()
		}
		_ = raw(outer).Close()
		if err := wait(t, end); err != want { //nolint:errorlint // it is promised as it is
			t.Errorf("close_notify %v: %v", notify, err)
		}
		on(t, l, func() {
			if string(got) != "last words" {
				t.Errorf("got %q", got)
			}
			s.Close()
		})
	}
}

// An idle TLS stream holds no buffer, whatever went before; a cut record only as long as its rest is missing.
func TestIdleTLSHoldsNoBuffer(t *testing.T) {
	outer, inner := tlsPair(t)
	defer outer.Close()
	l := engine(t, Options{Loops: 1}).Loop()
	s := Attach(l, inner).(*tlsStream)
	got, done := 0, make(chan struct{})
	const total = 300_000
	on(t, l, func() {
		buf := make([]byte, BufferSize)
		s.Handle(handler(func(Events) {
			for {
				n, err := s.Read(buf)
				if got += n; err != nil {
					break
				}
			}
			if got == total {
				close(done)
				got++
			}
		}))
	})
	if _, err := outer.Write(make([]byte, total)); err != nil {
		t.Fatal(err)
	}
	wait(t, done)
	on(t, l, func() {
		_, _ = s.Write([]byte("answer"))
		for name, n := range map[string]int{
			"rawInput": bufferAt(s.conn, s.at.rawInput).Cap(), "hand": bufferAt(s.conn, s.at.hand).Cap(),
			"stash": cap(s.stash), "out": cap(s.out), "rest": cap(s.rest),
		} {
			if n != 0 {
				t.Errorf("%s: %d bytes", name, n)
			}
		}
		s.Abort()
	})
}

func TestCgroupQuota(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int
	}{
		"none":   {map[string]string{"/proc/self/cgroup": "0::/\n"}, 0},
		"max":    {map[string]string{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"}, 0},
		"half":   {map[string]string{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1},
		"more":   {map[string]string{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2},
		"parent": {map[string]string{"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/cpu.max": "300000 100000\n", "/sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 3},
		"v1": {map[string]string{
			"/proc/self/cgroup":                    "5:memory:/x\n4:cpu,cpuacct:/x\n",
			"/sys/fs/cgroup/cpu/cpu.cfs_quota_us":  "210000\n",
			"/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 3},
	} {
		n, err := cgroupQuota(func(name string) ([]byte, error) {
			if text, ok := c.files[name]; ok {
				return []byte(text), nil
			}
			return nil, errors.ErrUnsupported
		})
		if n != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// TestAnswersCountForHighWater has an answer of crypto/tls to a KeyUpdate lift the queue over HighWater: Writable is owed
// then as after a Write, or whoever stopped at the mark waits for ever.
func TestAnswersCountForHighWater(t *testing.T) {
	l, s, _, _ := sealed(t)
	on(t, l, func() {
		s.out = make([]byte, HighWater-10)
		s.transmit(make([]byte, 27))
		if s.Queued() < HighWater || !s.high {
			t.Errorf("%d bytes are queued, high is %v", s.Queued(), s.high)
		}
		s.out = nil
		s.Abort()
	})
}
