package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// traffic is n bytes or more of random frames: sizes, fragments and control frames between them.
func traffic(rng *rand.Rand, n int, mask bool) []byte {
	var out []byte
	frame := func(op websocket.Opcode, fin bool, size int) {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		var m *[4]byte
		if mask {
			m = &[4]byte{byte(rng.Uint32()), byte(rng.Uint32()), 3, 4}
		}
		out = websocket.AppendFrame(out, op, fin, m, payload)
	}
	sizes := []int{0, 1, 125, 126, 127, 128, 4096, 65535, 65536, 100_000}
	size := func() int {
		if rng.IntN(3) == 0 {
			return sizes[rng.IntN(len(sizes))]
		}
		return rng.IntN(2000)
	}
	for len(out) < n {
		frags := 1 + rng.IntN(4)
		for i := range frags {
			op := websocket.OpContinuation
			if i == 0 {
				op = websocket.OpBinary
			}
			frame(op, i == frags-1, size())
			if rng.IntN(3) == 0 {
				frame(websocket.OpPing, true, rng.IntN(126))
			}
			if rng.IntN(5) == 0 {
				frame(websocket.OpPong, true, rng.IntN(126))
			}
		}
	}
	return out
}

// sendSplit writes b in random pieces.
func sendSplit(w io.Writer, b []byte, rng *rand.Rand, largest int) error {
	for len(b) > 0 {
		n := min(1+rng.IntN(largest), len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// readSlowly reads n bytes in random small pieces, giving the processor away between them.
func readSlowly(r io.Reader, n int, rng *rand.Rand, largest int) ([]byte, error) {
	var got bytes.Buffer
	for got.Len() < n {
		if _, err := io.CopyN(&got, r, int64(min(1+rng.IntN(largest), n-got.Len()))); err != nil {
			return got.Bytes(), err
		}
	}
	return got.Bytes(), nil
}

func TestTrafficBothWays(t *testing.T) {
	t.Parallel()
	for _, largest := range []int{7, 3000, 200_000} {
		t.Run(fmt.Sprintf("pieces_%d", largest), func(t *testing.T) {
			engines(t, func(t *testing.T, o rigOptions) {
				o.smallBuffers = largest != 7
				o.policy.Ping = time.Millisecond // as many Pings of the gateway in between as it likes
				o.policy.Pong = time.Hour
				r := newRig(t, o)
				size := min(largest*1500, 400_000)
				rng := rand.New(rand.NewPCG(uint64(largest), 1))
				up, down := traffic(rng, size, true), traffic(rng, size, false)
				var wg sync.WaitGroup
				const whole = 12 * patience // tens of thousands of system calls each way, under the race detector
				run := func(from, to *peer, data []byte, seed uint64) {
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 2))
						_ = from.SetWriteDeadline(time.Now().Add(whole))
						if err := sendSplit(from, data, rng, largest); err != nil {
							t.Errorf("write: %v", err)
						}
					})
					wg.Go(func() {
						rng := rand.New(rand.NewPCG(seed, 3))
						_ = to.SetReadDeadline(time.Now().Add(whole))
						got, err := readSlowly(&pingFilter{r: to, t: t, data: data}, len(data), rng, largest)
						if err != nil || !bytes.Equal(got, data) {
							t.Errorf("read %d of %d: %v", len(got), len(data), err)
						}
					})
				}
				run(r.client, r.upstream, up, 1)
				run(r.upstream, r.client, down, 2)
				wg.Wait()
				r.session.Close(away, "", "test")
				_ = r.client.Close()
				_ = r.upstream.Close()
				res := r.owner.result()
				if res.BytesIn != int64(len(up)) || res.BytesOut != int64(len(down)) {
					t.Errorf("bytes %d %d, want %d %d", res.BytesIn, res.BytesOut, len(up), len(down))
				}
			})
		})
	}
}

// A pingFilter takes the gateway's own Pings out of what a peer reads: those whose payload has 8 bytes and does not come
// next in data.
type pingFilter struct {
	r    io.Reader
	t    *testing.T
	data []byte // what is expected, from here on
	buf  []byte // read, not yet judged
	left int64
	out  []byte
}

func (f *pingFilter) Read(p []byte) (int, error) {
	for len(f.out) == 0 {
		chunk := make([]byte, 4096)
		n, err := f.r.Read(chunk)
		f.buf = append(f.buf, chunk[:n]...)
		f.judge()
		if len(f.out) == 0 && err != nil {
			return 0, err
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

func (f *pingFilter) judge() {
	for len(f.buf) > 0 {
		if f.left > 0 {
			n := min(f.left, int64(len(f.buf)))
			f.emit(int(n))
			f.left -= n
			continue
		}
		h, n, _ := websocket.ParseHeader(f.buf)
		if n == 0 {
			return
		}
		if h.Opcode == websocket.OpPing && h.Length == 8 {
			if len(f.buf) < n+8 {
				return
			}
			if !bytes.HasPrefix(f.data, f.buf[:n+8]) {
				f.buf = f.buf[n+8:]
				continue
			}
		}
		f.emit(n)
		f.left = h.Length
	}
}

func (f *pingFilter) emit(n int) {
	f.out = append(f.out, f.buf[:n]...)
	f.buf = f.buf[n:]
	f.data = f.data[min(n, len(f.data)):]
}

func TestHead(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		c, u := &peer{mask: true}, &peer{}
		o.clientHead = append(c.text("glued"), c.text("half of it")[:9]...)
		o.upHead = append(u.text(strings.Repeat("x", 100_000)), 0x81)
		r := newRig(t, o)
		r.upstream.expect(o.clientHead)
		r.client.expect(o.upHead[:len(o.upHead)-1])
		r.client.send(c.text("half of it")[9:])
		r.upstream.expect(c.text("half of it")[9:])
		r.upstream.send([]byte{0x02, 'o', 'k'})
		r.client.expect(u.text("ok"))
		r.session.Close(away, "", "test")
		_ = r.client.Close()
		_ = r.upstream.Close()
		r.owner.result()
	})
}

// A frame that arrives byte by byte leaves whole: its header in one piece, a control frame altogether.
func TestPing(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		o.policy = relay.Policy{Ping: 20 * time.Millisecond, Pong: time.Minute}
		r := newRig(t, o)
		for _, p := range []*peer{r.client, r.upstream} {
			for range 3 {
				h, payload := p.next()
				if h.Opcode != websocket.OpPing || len(payload) != 8 || h.Masked == p.mask {
					t.Fatalf("got %+v %x, want a Ping of 8 bytes", h, payload)
				}
				p.send(p.frame(websocket.OpPong, true, string(payload))) // is swallowed
			}
		}
		// A Pong that nobody asked for is passed on.
		r.client.send(append(r.client.frame(websocket.OpPong, true, "12345678"), r.client.text("x")...))
		for {
			h, payload := r.upstream.next()
			if h.Opcode == websocket.OpPing {
				continue
			}
			if h.Opcode != websocket.OpPong || string(payload) != "12345678" {
				t.Fatalf("got %+v %q, want the Pong", h, payload)
			}
			break
		}
		r.session.Close(away, "", "test")
		_ = r.client.Close()
		_ = r.upstream.Close()
		r.owner.result()
	})
}

// While a relayed Ping is unanswered the gateway sends none of its own.
func TestPingWaitsForRelayedPong(t *testing.T) {
	r := newRig(t, rigOptions{policy: relay.Policy{Ping: 60 * time.Millisecond, Pong: time.Minute}})
	asked := r.client.frame(websocket.OpPing, true, "asked")
	r.client.send(asked)
	r.upstream.expect(asked)
	for range 3 { // three rounds of the gateway's Pings, as the client sees them
		h, payload := r.client.next()
		if h.Opcode != websocket.OpPing {
			t.Fatalf("got %+v", h)
		}
		r.client.send(r.client.frame(websocket.OpPong, true, string(payload)))
	}
	r.client.send(r.client.text("mark"))
	r.upstream.expect(r.client.text("mark")) // no Ping before it
	r.upstream.send(r.upstream.frame(websocket.OpPong, true, "asked"))
	for {
		if h, payload := r.client.next(); h.Opcode == websocket.OpPong && string(payload) == "asked" {
			break
		}
	}
	if h, _ := r.upstream.next(); h.Opcode != websocket.OpPing {
		t.Fatalf("got %+v, want a Ping", h)
	}
	r.client.reset()
	_ = r.upstream.Close()
	r.owner.result()
}

func TestPongMissing(t *testing.T) {
	policy := relay.Policy{Ping: 30 * time.Millisecond, Pong: time.Second, CloseTimeout: 100 * time.Millisecond}
	answer := func(p *peer) { // until the end, as a living peer does
		for {
			_ = p.SetReadDeadline(time.Now().Add(patience))
			head := make([]byte, 2)
			if _, err := io.ReadFull(p, head); err != nil {
				return
			}
			rest := make([]byte, int(head[1]&0x7F)+4*int(head[1]>>7))
			if _, err := io.ReadFull(p, rest); err != nil {
				return
			}
			whole := append(head, rest...)
			if head[0] == 0x89 {
				_, _ = p.Write(p.frame(websocket.OpPong, true, string(websocket.AppendPayload(nil, whole))))
			}
		}
	}
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, rigOptions{policy: policy})
		var wg sync.WaitGroup
		wg.Go(func() { answer(r.upstream); _ = r.upstream.Close() })
		r.expectResult(away, relay.Client, relay.CausePong)
		wg.Wait()
	})
	t.Run("upstream", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, rigOptions{policy: policy})
		var wg sync.WaitGroup
		wg.Go(func() { answer(r.client); _ = r.client.Close() })
		wg.Go(func() {
			_ = r.upstream.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, r.upstream); err == nil {
				t.Error("the dead upstream was not reset")
			}
		})
		r.expectResult(websocket.Internal, relay.Upstream, relay.CausePong)
		if r.owner.why != relay.CausePong {
			t.Errorf("Lost: %q", r.owner.why)
		}
		wg.Wait()
	})
}

// A peer that never reads costs a bounded amount of memory, and is dropped in the end.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o rigOptions) {
		o.policy = relay.Policy{Stall: 300 * time.Millisecond, CloseTimeout: 100 * time.Millisecond}
		r := newRig(t, o)
		r.hello()
		var wg sync.WaitGroup
		wg.Go(func() {
			chunk := r.upstream.frame(websocket.OpBinary, true, strings.Repeat("x", 30_000))
			for {
				if _, err := r.upstream.Write(chunk); err != nil {
					return
				}
			}
		})
		var most int64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(patience); ; {
			var s relay.Stats
			r.session.Stats(&s)
			most = max(most, s.Held)
			select {
			case <-tick.C:
				continue
			case <-end:
				t.Fatal("session did not end")
			case res := <-r.owner.done:
				if res.Cause != relay.CauseSlow && res.Cause != relay.CauseCut || res.By != relay.Gateway {
					t.Errorf("result %+v", res)
				}
			}
			break
		}
		_ = r.upstream.Close()
		wg.Wait()
		if bound := int64(loop.HighWater + loop.BufferSize + 4096); most > bound || most == 0 {
			t.Errorf("held %d bytes, want 1 to %d", most, bound)
		}
	})
}

// An upstream that never reads is lost; the client is told so.
func TestSlowUpstream(t *testing.T) {
	r := newRig(t, rigOptions{policy: relay.Policy{Stall: 200 * time.Millisecond}})
	var wg sync.WaitGroup
	wg.Go(func() {
		chunk := r.client.frame(websocket.OpBinary, true, strings.Repeat("x", 30_000))
		for {
			if _, err := r.client.Write(chunk); err != nil {
				return
			}
		}
	})
	r.client.expectClose(websocket.Internal, "")
	_ = r.client.Close()
	wg.Wait()
	r.expectResult(websocket.Internal, relay.Upstream, relay.CauseSlow)
}

// A slow reader that does read is not dropped, however slow the system is to report room.
func TestSlowButSteadyReader(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, o rigOptions) {
		o.policy.Stall = 2 * time.Second
		o.smallBuffers = true
		r := newRig(t, o)
		var wg sync.WaitGroup
		const frames, size = 400, 30_000
		wg.Go(func() {
			for range frames {
				if _, err := r.upstream.Write(r.upstream.frame(websocket.OpBinary, true, strings.Repeat("x", size))); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
		tick := time.NewTicker(16 * time.Millisecond)
		defer tick.Stop()
		var got int64
		for range 250 { // far longer than Stall
			<-tick.C
			_ = r.client.SetReadDeadline(time.Now().Add(patience))
			n, err := io.CopyN(io.Discard, r.client, 10_000)
			got += n
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.CopyN(io.Discard, r.client, frames*(size+4)-got); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		r.client.reset()
		_ = r.upstream.Close()
		r.owner.result()
	})
}

// Whatever happens at once, Done comes once and everything is given back.
func TestRaces(t *testing.T) {
	t.Parallel()
	acts := []func(r *rig){
		func(r *rig) { r.session.Close(away, "", "test") },
		func(r *rig) { r.client.reset() },
		func(r *rig) { r.upstream.reset() },
		func(r *rig) { _ = r.client.Close() },
		func(r *rig) { _ = r.upstream.Close() },
		func(r *rig) { _, _ = r.client.Write(r.client.closeFrame(normal, "")) },
		func(r *rig) { _, _ = r.upstream.Write(r.upstream.closeFrame(normal, "")) },
		func(r *rig) { _, _ = r.upstream.Write(r.upstream.text("cut off")[:5]) },
		func(r *rig) { _, _ = r.client.Write([]byte{0xFF}) },
	}
	for i := range acts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for j := range acts {
				for _, o := range []rigOptions{{}, {tlsClient: true, tlsUpstream: true}} {
					o.policy.CloseTimeout = 20 * time.Millisecond
					r := newRig(t, o)
					var wg sync.WaitGroup
					wg.Go(func() { acts[i](r) })
					wg.Go(func() { acts[j](r) })
					wg.Wait()
					_ = r.client.Close()
					_ = r.upstream.Close()
					if res := r.owner.result(); res.Cause == "" || res.By == 0 {
						t.Errorf("%d and %d: %+v", i, j, res)
					}
					var s relay.Stats
					r.session.Close(away, "", "late")
					r.session.Stats(&s)
					if s.Held != 0 {
						t.Errorf("held %d", s.Held)
					}
				}
			}
		})
	}
}
