package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A leaver is an upstream that its session has left: it is sent the rest, what it still says is read and dropped, and it has a
// while to end the connection (RFC 6455, section 7.1.1).
type leaver struct {
	l      *link
	stream loop.Stream
	rest   []byte
	timer  loop.Timer
	over   bool
}

func newLeaver(l *link, stream loop.Stream, rest []byte) *leaver {
	v := &leaver{l: l, stream: stream, rest: append([]byte(nil), rest...)}
	v.timer.Init(l.s.loop(), v)
	v.timer.Reset(l.s.policy.closeTimeout())
	v.flush()
	l.s.loop().Again(v)
	return v
}

// Ready is where the loop calls.
func (v *leaver) Ready(_ *loop.Loop, ev loop.Events) {
	if v.over {
		return
	}
	if ev&loop.Timeout != 0 {
		v.end(len(v.rest) > 0 || v.stream.Queued() > 0)
		return
	}
	v.flush()
	v.read()
}

func (v *leaver) flush() {
	if len(v.rest) == 0 {
		return
	}
	n, err := v.stream.Write(v.rest)
	v.rest = v.rest[n:]
	if err != nil && err != loop.ErrAgain { //nolint:errorlint // it is promised as it is
		v.rest = nil
	}
}

func (v *leaver) read() {
	for range readsPerTurn {
		n, err := v.stream.Read(v.l.s.loop().Buffer())
		switch {
		case err == nil && n > 0:
		case err == loop.ErrAgain: //nolint:errorlint // it is promised as it is
			return
		default:
			v.end(false)
			return
		}
	}
	v.l.s.loop().Again(v)
}

func (v *leaver) end(reset bool) {
	if v.over {
		return
	}
	v.over = true
	v.timer.Stop()
	if reset {
		v.stream.Abort()
	} else {
		v.stream.Close()
	}
	if e := v.l.ear; e.prev == v {
		e.prev = nil
	}
}

// dismiss gives back an upstream that never took over.
func dismiss(s *Session, stream loop.Stream) {
	var buf [websocket.MaxHeld]byte
	var m [4]byte
	_, _ = stream.Write(websocket.AppendClose(buf[:0], &m, websocket.GoingAway, "session ended"))
	if stream.Queued() > 0 {
		// Under TLS the last bytes may need a moment.
		t := s.loop().NewTimer(stream.Close)
		t.Reset(dismissTime)
		return
	}
	stream.Close()
}

const dismissTime = 100 * time.Millisecond
