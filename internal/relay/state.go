package relay

import (
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A state is what is true of a side, one bit for each.
type state uint32

const (
	// What comes from it.
	flagReadable state = 1 << iota // the stream may have more
	flagEarly                      // bytes of the handshake's time are to be relayed first
	flagEOF                        // nothing more will come
	flagLost                       // and that because the connection failed
	flagBroken                     // it broke a frame rule: what still comes is no frames
	flagPassing                    // its current data frame goes to the peer
	flagCloseIn                    // it has sent its Close

	// What goes to it.
	flagWaiting   // bytes wait that the stream did not take yet
	flagStalled   // it takes nothing
	flagShut      // no frame of the peer goes to it any more
	flagDead      // it takes nothing any more: a write failed
	flagWantClose // a farewell is to be sent at the next boundary
	flagPolite    // and that is to be the end of a message
	flagCloseOut  // it has been sent a Close, its last frame
	flagWantFIN   // FIN is to be sent behind what waits
	flagFIN       // CloseWrite was called
	flagCut       // to be reset as soon as nothing waits
	flagGone      // the stream was given back

	// Ping and Pong.
	flagWantPing
	flagPinging  // a Ping of ours is unanswered
	flagOwing    // a Ping of the peer is unanswered
	flagWantPong // its Ping is to be answered for an upstream that is gone

	flagHold   // its messages go to the peer whole: see hold.go
	flagTapped // of the client: somebody watches the session
	flagDue    // of the client: it has said what the rate does not forget yet, or may have
)

// coldFlags are those of an open session for which something is kept in the cold part.
const coldFlags = flagTapped | flagEarly | flagWaiting | flagStalled | flagPinging | flagOwing

// has reports whether any of f is true of x.
func (x *side) has(f state) bool { return x.state&f != 0 }

// any reports whether any of f is true of either side.
func (s *Session) any(f state) bool { return (s.client.state|s.up.state)&f != 0 }

func (x *side) set(f state) { x.state |= f }

func (x *side) clear(f state) { x.state &^= f }

// A cold is what a session needs only now and then: while bytes wait, while a Ping is unanswered, and when it ends. An idle
// session has none.
type cold struct {
	client, up coldSide
	debt       loop.Debt     // what waits
	deadline   time.Duration // of the end, in phase closing
	due        time.Duration // with flagDue: of the client's next message, if all came at the rate
	watch      *watch        // with flagTapped
	result     Result
}

// A coldSide is the part of one side.
type coldSide struct {
	early []byte // with flagEarly

	out  []byte // with flagWaiting, from sent on
	sent int

	// With flagStalled.
	stalled time.Duration // since when
	handed  int64         // bytes that the stream took since then, or earlier
	moved   int64         // handed less what is known to be on its way still, at stalled

	ping   [8]byte       // with flagPinging
	pingAt time.Duration // with flagPinging or flagOwing: of the older of the two

	code     websocket.Code // with flagCloseIn
	reason   string
	farewell Verdict // with flagWantClose
}

var colds = sync.Pool{New: func() any { return new(cold) }}

// need returns the cold part, which may be new.
func (s *Session) need() *cold {
	if s.cold == nil {
		s.cold = colds.Get().(*cold)
	}
	return s.cold
}

// cold returns the part of x.
func (x *side) cold() *coldSide {
	if c := x.s.need(); x == &x.s.client {
		return &c.client
	}
	return &x.s.cold.up
}

// cool gives the cold part back if nothing is in it.
func (s *Session) cool() {
	if s.phase == open && s.held() == 0 && !s.any(coldFlags) && s.forgiven() {
		s.freeze()
	}
}

func (s *Session) freeze() {
	*s.cold = cold{}
	colds.Put(s.cold)
	s.cold = nil
}
