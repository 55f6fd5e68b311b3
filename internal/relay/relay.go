// Package relay passes the bytes of one session between a client and an upstream. It reads frame headers as they go by,
// so it can speak to either side between two frames, and it brings every session to its end as the design's table
// "Closing" says. It makes no system call of its own: loop.Stream does. Read in this order: Start, Session.turn,
// side.walk, then close.go.
package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A Side is one connection of a session, after its handshake, and the bytes already read from it.
type Side struct {
	Stream  loop.Stream // of the Loop that is given to Start; the session closes it
	Head    []byte      // read during the handshake, not yet passed on; it is relayed first
	Deflate bool        // permessage-deflate was agreed: its frames may carry RSV1 (websocket.Agreed.Deflate)
}

// A Policy says what a session may do. It is immutable and may be shared by all sessions of a route. The zero Policy
// relays everything and only sets the bounds that keep a dead session from living for ever (Stall, CloseTimeout).
type Policy struct {
	MaxMessage int64 // payload of a message in bytes, as its frame headers announce it; 0: no limit
	MaxFrame   int64 // payload of a frame in bytes; 0: no limit
	Rate       Rate  // of the client's messages

	// Idle ends a session in which neither peer has sent a frame for so long; 0: never. The gateway's own Pings and
	// their answers are no life.
	Idle         time.Duration
	IdleMessages bool          // only data counts as life, not a relayed Ping or Pong
	MaxAge       time.Duration // since Start; 0: none

	// Stall ends a session if a peer that has bytes waiting for it takes none for so long. 0: 60s. Negative: never; a
	// peer that stops reading then holds the session and up to 128 KiB for each direction.
	Stall time.Duration

	Ping time.Duration // the gateway pings both peers so often; 0: never
	// Pong is how long after a Ping a peer may send nothing at all before it counts as dead. 0: twice Ping, at most 10s.
	Pong time.Duration

	CloseTimeout time.Duration // bounds every step of an end; 0: 5s

	// Hold makes the session one that can move to another upstream. It bounds, in bytes: the start of a message that is held
	// in each direction until the rest is there, the client messages that are kept in case they have to be sent again, and
	// what waits for another upstream. 0: the session cannot move.
	Hold int
	// Replay keeps each client message until it is answered, the k-th by the k-th message of the upstream, and sends the
	// others again after a move (at least once). Without it only those are sent again that did not arrive (at most once).
	Replay bool
}

func (p *Policy) stall() time.Duration {
	if p.Stall == 0 {
		return time.Minute
	}
	return max(p.Stall, 0)
}

func (p *Policy) pong() time.Duration {
	if p.Pong <= 0 {
		return min(2*p.Ping, 10*time.Second)
	}
	return p.Pong
}

func (p *Policy) closeTimeout() time.Duration {
	if p.CloseTimeout <= 0 {
		return 5 * time.Second
	}
	return p.CloseTimeout
}

// By says who ended a session.
type By uint8

// The three who can. The zero By stands for none.
const (
	Client By = iota + 1
	Upstream
	Gateway
)

func (b By) String() string {
	switch b {
	case Client:
		return "client"
	case Upstream:
		return "upstream"
	case Gateway:
		return "gateway"
	}
	return ""
}

// The causes that this package gives a Result. A caller of Close brings its own: "shutdown", "policy", ...
const (
	CauseHandshake  = "close handshake"  // both peers' Closes crossed
	CauseUnanswered = "close unanswered" // one peer sent a Close, the other went or kept silent
	CauseClientFIN  = "client fin"       // client sent FIN without a Close
	CauseClientLost = "client lost"      // client was reset, or timed out
	CauseLost       = "upstream lost"    // upstream sent FIN or was reset without a Close
	CauseCut        = "cut"              // a side was lost inside a frame, so the other was reset
	CausePong       = "pong timeout"
	CauseIdle       = "idle timeout"
	CauseMaxAge     = "maximum duration"
	CauseTooBig     = "message too big"
	CauseRate       = "message rate exceeded"
	CauseProtocol   = "protocol error"
	CauseSlow       = "slow reader"
	CauseHeld       = "slow reader, memory short" // the loop held too much, and nobody owed it more
	CauseClosed     = "upstream closing"          // upstream sent a Close 1001 or 1012
)

// Stats are the counters of a session. In is from the client, out is to the client; bytes are those of whole frames,
// headers included, as they were relayed. What the gateway says itself (Ping, Close) is not counted.
type Stats struct {
	BytesIn, BytesOut       int64
	FramesIn, FramesOut     int64
	MessagesIn, MessagesOut int64
	LastActivity            time.Time // when the last byte of either peer was read; before the first, the time of Start
	Held                    int64     // bytes that wait in this process for a slow reader, or for another upstream
	Moves                   int       // how often another upstream took over
	// Uncertain counts the client messages that went to an upstream which was lost before it was known to have answered
	// them, and were not sent again. An upstream is taken to answer one message with one.
	Uncertain int
	// Overflows is how often, with Replay, more was unanswered than Hold: until that was answered a loss ended the session.
	Overflows int
}

// A Result says how a session ended.
type Result struct {
	Stats
	Code      websocket.Code // of the first Close that was seen, or sent to the client, or to the upstream where that is gone; 0: none
	Reason    string
	By        By
	Cause     string
	Discarded int64 // bytes received that nobody could be given, because the end had begun or the other side was lost
}

// A Loss is what an Owner is asked about: a session that has lost its upstream, or is to leave it.
type Loss struct {
	Epoch uint32 // names this Loss for Resume, GiveUp and Moved
	// Cause is CauseLost, CausePong, CauseSlow, CauseHeld, CauseClosed, or what Detach was given.
	Cause    string
	Code     websocket.Code // with CauseClosed: 1001 or 1012
	Reason   string
	Planned  bool // by Detach: the upstream is still there
	Movable  bool // the session can go on with another upstream
	Answered bool // the upstream has sent at least one message
	Waiting  int  // bytes of the client that wait for the answer
}

// A Verdict is what becomes of a session that has lost its upstream.
type Verdict struct {
	// Wait keeps the client and waits so long for Resume or GiveUp; what follows is for when neither comes. 0, or a Loss
	// that is not Movable: do it now.
	Wait time.Duration
	// Stay goes on with the upstream that is there, if the Loss is Planned. Else:
	Stay bool
	// Code and Reason are what the client is told; 0: 1011. A client whose upstream has sent a Close is told what that says.
	Code   websocket.Code
	Reason string
}

// An Owner is told what happens to its session. All methods run on the loop and must not block, nor call Resume.
type Owner interface {
	// Lost is called when the upstream went without a Close, when a session that can move is sent a Close 1001 or 1012 by
	// it, and for Detach. It is not called while the owner waits, and not when the end has begun.
	Lost(s *Session, loss Loss) Verdict
	// Moved is called once for each Lost that was answered by a Wait. ok: the upstream of Resume has taken over; the one
	// before may take CloseTimeout more to be gone. Else the move is over for another reason: GiveUp, the Wait, or the
	// end of the session. A stream that Resume has taken is given back by the session in any case.
	Moved(s *Session, epoch uint32, ok bool)
	// Done is called exactly once, last: the session has given its streams back and holds nothing any more. It never
	// runs inside Start or Close. r is valid until it returns.
	Done(s *Session, r *Result)
}
