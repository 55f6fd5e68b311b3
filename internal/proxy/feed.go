package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// What bounds a feed, the WebSocket by which an operator sees the frames of a session.
const (
	MaxFramesPayload = 4096 // bytes of each payload that are shown
	maxFeeds         = 16   // at once
	feedFrames       = 256  // that wait for it: more are dropped, and counted
	feedPause        = 50 * time.Millisecond
	feedGoodbye      = 2 * time.Second  // for the watcher's Close
	feedStall        = 10 * time.Second // a watcher that takes nothing for so long is one no more
)

// A feed is one of them. It lives on a loop of its own client, not of the session.
type feed struct {
	s      *Server
	tap    *relay.Tap
	stop   func() // watching
	stream loop.Stream
	timer  loop.Timer
	done   chan struct{} // closed when it is over

	// Owned by the loop.
	cur     websocket.Cursor // of what the watcher says
	control []byte           // a frame of it
	out     []byte           // what the stream did not take yet
	left    int              // bytes that waited for the watcher when it was looked last; 0: none
	stuck   time.Duration    // with left: since when it is that
	parting bool             // the Close is sent, or waits in out
	over    bool
}

// serveFrames answers with the frames of a session, if the request is a handshake.
func (s *Server) serveFrames(x *exchange, r *FramesRequest) {
	ss := s.Sessions.find(r.ID)
	if ss == nil {
		s.fail(x, notFound(x.target))
		return
	}
	if !x.upgrade {
		x.record.Status = http.StatusUpgradeRequired
		fields := http1.Fields{{Name: "Upgrade", Value: "websocket"}}
		_ = x.Reply(&http1.Answer{Status: x.record.Status, Fields: fields}, []byte("This is a WebSocket.\n"))
		return
	}
	var err error
	if x.offer, err = websocket.CheckRequest(x.opening()); err != nil {
		s.fail(x, failed(err, x.target, ""))
		return
	}
	l := x.sessionLoop(s.engine)
	f := &feed{s: s, cur: websocket.NewCursor(true, false), done: make(chan struct{})}
	f.timer.Init(l, f)
	f.tap = relay.NewTap(feedFrames, min(r.Payload, MaxFramesPayload), func() { l.Post(f.due) })
	if !s.addFeed(f) {
		s.fail(x, overLimit("watched sessions"))
		return
	}
	client, head := x.takeOver()
	x.record.Status, x.record.Websocket = http.StatusSwitchingProtocols, true
	if err := x.answerSwitch(client, http1.Fields{{Name: "X-Request-Id", Value: x.record.RequestID}}); err != nil || len(head) > 0 {
		client.Close() // nobody talks before he is answered
		s.dropFeed(f)
		return
	}
	x.offer = nil // it is counted as a request: no session was refused
	s.Log.Info("frames of a session are watched", "session_id", r.ID, "user", r.User, "client", x.record.Client, "payload", r.Payload)
	l.Post(func() {
		if f.over { // the gateway stops
			client.Close()
			s.dropFeed(f)
			return
		}
		f.stream = loop.Attach(l, client)
		f.stream.Handle(f)
		f.stop = ss.relay.Load().Watch(f.tap)
	})
}

func (s *Server) addFeed(f *feed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.feeds) >= maxFeeds || s.stopping.Load() {
		return false
	}
	if s.feeds == nil {
		s.feeds = make(map[*feed]struct{})
	}
	s.feeds[f] = struct{}{}
	return true
}

func (s *Server) dropFeed(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeds, f)
	close(f.done)
}

// endFeeds ends all of them. The sessions are over by then.
func (s *Server) endFeeds() {
	s.mu.Lock()
	var all []*feed
	for f := range s.feeds {
		all = append(all, f)
	}
	s.mu.Unlock()
	for _, f := range all {
		f.timer.Loop().Post(f.end)
		<-f.done
	}
}

// Ready implements loop.Handler.
func (f *feed) Ready(l *loop.Loop, ev loop.Events) {
	switch {
	case f.over:
		return
	case ev&loop.Timeout != 0 && f.parting:
		f.end()
		return
	case ev&loop.Timeout != 0:
		f.show()
	}
	if ev&loop.Writable != 0 {
		f.flush()
	}
	if ev&loop.Readable != 0 && !f.over {
		f.read(l)
	}
}

// due is when the tap has something. It waits a little for more.
func (f *feed) due() {
	if !f.over && !f.parting && f.timer.Due() == 0 {
		f.timer.Reset(feedPause)
	}
}

// show writes what the tap has, unless the watcher is slow: then it waits there, as far as there is room.
func (f *feed) show() {
	if f.slow() {
		return
	}
	frames, dropped, ended := f.tap.Take()
	for i := range frames {
		f.say(viewFrame(&frames[i]))
	}
	if dropped > 0 {
		f.say(&frameView{Event: "dropped", Count: dropped})
	}
	if ended {
		f.say(&frameView{Event: "ended"})
		f.bye(websocket.Normal, "The session has ended")
	}
	f.flush()
	if !f.over && !f.parting {
		f.slow()
	}
}

// slow reports whether something waits for the watcher still, and looks again soon; one that takes nothing gives its place up.
func (f *feed) slow() bool {
	left, now := len(f.out)+f.stream.Queued(), f.timer.Loop().Clock()
	if left != f.left {
		f.left, f.stuck = left, now
	}
	switch {
	case left == 0:
		return false
	case now-f.stuck >= f.s.feedStall():
		f.end()
	default:
		f.timer.Reset(feedPause)
	}
	return true
}

func (s *Server) feedStall() time.Duration {
	if s.stall > 0 {
		return s.stall
	}
	return feedStall
}

func (f *feed) say(v *frameView) {
	text, _ := json.Marshal(v) // of strings and numbers: it does not fail
	f.out = websocket.AppendFrame(f.out, websocket.OpText, true, nil, text)
}

// bye sends a Close, and bounds the wait for that of the watcher.
func (f *feed) bye(code websocket.Code, reason string) {
	if !f.parting {
		f.parting = true
		f.out = websocket.AppendClose(f.out, nil, code, reason)
		f.timer.Reset(feedGoodbye)
	}
}

func (f *feed) flush() {
	if len(f.out) == 0 || f.over {
		return
	}
	n, err := f.stream.Write(f.out)
	if f.out = f.out[n:]; len(f.out) == 0 {
		f.out = nil
	}
	if err != nil && err != loop.ErrAgain { //nolint:errorlint // it is promised as it is
		f.end()
	}
}

// read hears the watcher: its Close and its Pings. What else it says is nothing to us.
func (f *feed) read(l *loop.Loop) {
	for range 16 {
		n, err := f.stream.Read(l.Buffer())
		if !f.heard(l.Buffer()[:n]) {
			return
		}
		switch {
		case err == loop.ErrAgain: //nolint:errorlint // it is promised as it is
			return
		case err != nil:
			f.end()
			return
		}
	}
	f.end() // so much is no watcher's
}

// heard takes what the watcher says. False: the feed is over.
func (f *feed) heard(p []byte) bool {
	for len(p) > 0 && !f.over {
		kind, n, err := f.cur.Next(p)
		switch {
		case err != nil:
			f.end()
		case kind == websocket.None: // more has to come
			f.control = append(f.control, p...)
			return true
		case kind == websocket.Control:
			f.answer(append(f.control, p[:n]...))
		}
		p, f.control = p[n:], f.control[:0]
	}
	return !f.over
}

// answer answers a control frame.
func (f *feed) answer(frame []byte) {
	payload := websocket.AppendPayload(nil, frame)
	switch f.cur.Opcode() {
	case websocket.OpClose:
		code, reason, _ := websocket.ParseClose(payload)
		f.bye(code, reason)
		f.flush()
		f.end()
	case websocket.OpPing:
		if len(f.out) < 1024 && !f.parting { // else it does not read
			f.out = websocket.AppendFrame(f.out, websocket.OpPong, true, nil, payload)
			f.flush()
		}
	}
}

// end gives everything back.
func (f *feed) end() {
	if f.over {
		return
	}
	f.over = true
	if f.stream == nil {
		return // it has not begun
	}
	f.timer.Stop()
	f.stop()
	f.stream.Close()
	f.s.dropFeed(f)
}

// A frameView is one line of a feed.
type frameView struct {
	Time          *time.Time     `json:"time,omitempty"`
	Event         string         `json:"event,omitempty"` // moved, dropped or ended, instead of a frame
	Count         int64          `json:"count,omitempty"` // dropped
	From          string         `json:"from,omitempty"`
	To            string         `json:"to,omitempty"`
	Opcode        string         `json:"opcode,omitempty"`
	Fin           bool           `json:"fin,omitempty"`
	Compressed    bool           `json:"compressed,omitempty"`
	Size          *int64         `json:"size,omitempty"`
	Code          websocket.Code `json:"close_code,omitempty"`
	Reason        string         `json:"close_reason,omitempty"`
	Payload       string         `json:"payload,omitempty"`        // of text, secrets redacted
	PayloadBase64 []byte         `json:"payload_base64,omitempty"` // of what is no text
}

// opcodeNames are the words for opcodes that a frame may have.
var opcodeNames = map[websocket.Opcode]string{
	websocket.OpContinuation: "continuation", websocket.OpText: "text", websocket.OpBinary: "binary",
	websocket.OpClose: "close", websocket.OpPing: "ping", websocket.OpPong: "pong",
}

func viewFrame(f *relay.Frame) *frameView {
	at := f.Time.UTC()
	if f.Moved {
		return &frameView{Time: &at, Event: "moved"}
	}
	v := &frameView{
		Time: &at, From: f.From.String(), To: f.To.String(), Opcode: opcodeNames[f.Opcode], Fin: f.Fin, Compressed: f.Compressed, Size: &f.Size,
	}
	switch {
	case len(f.Payload) == 0:
	case f.Opcode == websocket.OpClose:
		if int64(len(f.Payload)) == f.Size {
			v.Code, v.Reason, _ = websocket.ParseClose(f.Payload)
			v.Reason = accesslog.RedactText(v.Reason)
		}
	case f.Opcode == websocket.OpText && !f.Compressed:
		v.Payload = accesslog.RedactText(wholeRunes(f.Payload))
	default:
		v.PayloadBase64 = f.Payload
	}
	return v
}

// wholeRunes is text without the start of a rune that it was cut in.
func wholeRunes(text []byte) string {
	for i := 1; i <= utf8.UTFMax && i <= len(text); i++ {
		if b := text[len(text)-i]; utf8.RuneStart(b) {
			if !utf8.FullRune(text[len(text)-i:]) {
				text = text[:len(text)-i]
			}
			break
		}
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}
