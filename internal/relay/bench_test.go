package relay_test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// BenchmarkEcho is one round trip of 128 bytes, and of 16 and 64 KiB, through a session, beside a pair of io.Copy that knows nothing
// of frames.
func BenchmarkEcho(b *testing.B) {
	b.Run("relay", func(b *testing.B) {
		r := newRig(b, rigOptions{})
		echo(b, r.client, r.upstream, 128)
		r.finish()
	})
	b.Run("relay_move", func(b *testing.B) {
		r := newRig(b, rigOptions{policy: relay.Policy{Hold: 64 << 10}})
		echo(b, r.client, r.upstream, 128)
		r.finish()
	})
	for name, size := range map[string]int{"16KiB": 16 << 10, "64KiB": 64 << 10} {
		for mode, hold := range map[string]int{"relay_": 0, "relay_move_": 64 << 10} {
			b.Run(mode+name, func(b *testing.B) {
				r := newRig(b, rigOptions{policy: relay.Policy{Hold: hold}})
				echo(b, r.client, r.upstream, size)
				r.finish()
			})
		}
	}
	b.Run("relay_replay", func(b *testing.B) {
		r := newRig(b, rigOptions{policy: relay.Policy{Hold: 64 << 10, Replay: true}})
		echo(b, r.client, r.upstream, 128)
		r.finish()
	})
	b.Run("relay_tls", func(b *testing.B) {
		r := newRig(b, rigOptions{tlsClient: true})
		echo(b, r.client, r.upstream, 128)
		r.finish()
	})
	b.Run("copy", func(b *testing.B) {
		cOuter, cInner := pair(b, false, false)
		uOuter, uInner := pair(b, false, false)
		var wg sync.WaitGroup
		// Hidden from io.Copy, or it splices: a gateway cannot where it looks at frames.
		wg.Go(func() { _, _ = io.Copy(struct{ io.Writer }{uInner}, struct{ io.Reader }{cInner}) })
		wg.Go(func() { _, _ = io.Copy(struct{ io.Writer }{cInner}, struct{ io.Reader }{uInner}) })
		echo(b, &peer{t: b, Conn: cOuter, mask: true}, &peer{t: b, Conn: uOuter}, 128)
		for _, c := range []net.Conn{cOuter, uOuter, cInner, uInner} {
			_ = c.Close()
		}
		wg.Wait()
	})
}

func echo(b *testing.B, client, upstream *peer, size int) {
	b.Helper()
	up, down := client.text(string(make([]byte, size))), upstream.text(string(make([]byte, size)))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		buf := make([]byte, len(up))
		for {
			if _, err := io.ReadFull(upstream, buf); err != nil {
				return
			}
			select {
			case <-stop:
				return
			default:
			}
			if _, err := upstream.Write(down); err != nil {
				return
			}
		}
	})
	buf := make([]byte, len(down))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(up); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client, buf); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	_, _ = client.Write(up)
	wg.Wait()
}

// BenchmarkBulk is one direction under load, in frames of 16 KiB.
func BenchmarkBulk(b *testing.B) {
	for name, o := range map[string]rigOptions{"plain": {}, "move": {policy: relay.Policy{Hold: 64 << 10}}, "tls_client": {tlsClient: true}} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, o)
			frame := r.upstream.text(string(make([]byte, 16<<10)))
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			var wg sync.WaitGroup
			n := 0
			wg.Go(func() { _, _ = io.Copy(io.Discard, r.client) })
			for b.Loop() {
				if _, err := r.upstream.Write(frame); err != nil {
					b.Fatal(err)
				}
				n++
			}
			r.upstream.fin()
			_ = r.upstream.Close()
			r.finish()
			wg.Wait()
		})
	}
}

// finish ends a session whose peers are of no further interest.
func (r *rig) finish() {
	r.t.Helper()
	r.session.Close(away, "", "test")
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.owner.result()
}

// A pad is a stream without a system: a message is there each time, and what is written is gone.
type pad struct {
	frame []byte
	h     loop.Handler
	there bool
}

func (p *pad) Read(b []byte) (int, error) {
	if !p.there {
		return 0, loop.ErrAgain
	}
	p.there = false
	return copy(b, p.frame), loop.ErrAgain
}

func (p *pad) Write(b []byte) (int, error) { return len(b), nil }
func (p *pad) Queued() int                 { return 0 }
func (p *pad) Unacked() int                { return 0 }
func (p *pad) LimitUnsent(int) bool        { return true }
func (p *pad) Plain() bool                 { return true }
func (p *pad) CloseWrite() error           { return nil }
func (p *pad) Close()                      {}
func (p *pad) Abort()                      {}
func (p *pad) Handle(h loop.Handler)       { p.h = h }

const turnsPerOp = 1000

// BenchmarkTurns is what a session itself costs for a question and its answer: no system is asked.
func BenchmarkTurns(b *testing.B) {
	for _, size := range []int{128, 16 << 10} {
		for mode, hold := range map[string]int{"off": 0, "move": 64 << 10} {
			b.Run(mode+strconv.Itoa(size), func(b *testing.B) {
				l := engine.Loop()
				payload := make([]byte, size)
				client := &pad{frame: websocket.AppendFrame(nil, websocket.OpBinary, true, &[4]byte{}, payload)}
				up := &pad{frame: websocket.AppendFrame(nil, websocket.OpBinary, true, nil, payload)}
				o := &owner{t: b, done: make(chan relay.Result, 1)}
				relay.Start(l, relay.Side{Stream: client}, relay.Side{Stream: up}, &relay.Policy{Hold: hold}, o)
				done := make(chan struct{})
				b.ReportAllocs()
				for b.Loop() {
					l.Post(func() { // some at a time, as events come, with one look at the clock
						for range turnsPerOp {
							client.there = true
							client.h.Ready(l, loop.Readable)
							up.there = true
							up.h.Ready(l, loop.Readable)
						}
						done <- struct{}{}
					})
					<-done
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/turnsPerOp, "ns/echo")
			})
		}
	}
}
