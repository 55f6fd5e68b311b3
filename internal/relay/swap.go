package relay

import "github.com/fairlead-gateway/fairlead/internal/websocket"

// part gives the old upstream's stream up, unless it was left.
func (s *Session) part() {
	u := &s.up
	u.dropTail()
	u.drop()
	if s.link.ear.off == nil {
		u.stream.Abort()
	}
	u.state = u.state&flagHold | flagGone | flagEOF
	s.answerPing()
}

// answerPing answers the Ping that the client still waits for.
func (s *Session) answerPing() {
	if s.link.ping != nil {
		s.client.set(flagWantPong)
	}
}

// settleAcks drops what the upstream is known to have, or may have, from what is to be sent again. exact: the end of the
// connection has brought the last acknowledgement with it. rest: so many bytes its stream did not take.
func (l *link) settleAcks(exact bool, rest int) {
	k, m, u := l.keep, l.move, &l.s.up
	if k == nil || l.s.policy.Replay || m.settled {
		return
	}
	m.settled = true
	taken := m.parkedAt + int64(m.farewell-rest)
	unacked := u.stream.Unacked()
	had := taken
	if l.exact && unacked >= 0 {
		had -= int64(unacked)
	}
	l.forget(l.before(min(had, m.parkedAt)))
	if !exact && len(k.marks) > 0 && l.s.now()-max(k.marks[0].when, k.flushed) < ackTime {
		// A reset may have overtaken the acknowledgement.
		l.forget(l.before(min(taken, m.parkedAt)))
	}
}

// seeOff leaves the upstream: it is sent last behind what waits for it, and has CloseTimeout to go.
func (s *Session) seeOff(last []byte) {
	u, l := &s.up, s.link
	if !u.has(flagDead) {
		s.showOwn(u, last)
		rest := last
		if u.waiting() > 0 {
			c := u.cold()
			rest = append(append([]byte(nil), c.out[c.sent:]...), last...)
		}
		if v := l.ear.prev; v != nil {
			v.end(true)
		}
		l.ear.off = newLeaver(l, u.stream, rest)
	}
	s.part()
}

// swap has the next upstream take over.
func (s *Session) swap() {
	l, u := s.link, &s.up
	m := l.move
	if !u.has(flagGone) {
		l.settleAcks(false, u.waiting())
		s.part()
	}
	unknown := l.unanswered()
	if l.keep != nil {
		unknown -= int32(l.unparked())
	}
	l.uncertain.Add(max(unknown, 0))
	l.moves.Add(1)

	u.state = flagHold
	u.stream, u.cur = m.next.Stream, websocket.NewCursor(false, m.next.Deflate)
	u.lastRead.Store(int64(s.now()))
	if len(m.next.Head) > 0 {
		u.set(flagEarly)
		u.cold().early = m.next.Head
	}
	l.move = nil
	prev := l.ear.off
	if prev == nil {
		prev = l.ear.prev // it may be there still
	}
	l.ear = &ear{l: l, prev: prev}
	l.swallow = uint8(min(int(l.pings)+int(l.swallow), 255))
	l.pings, l.spoke, l.torn = 0, false, false
	l.judge()
	u.stream.Handle(l.ear)
	s.stale = true
	l.sendAgain()
	if s.client.has(flagTapped) {
		s.cold.watch.moved(s)
	}
	s.owner.Moved(s, l.epoch, true)
	s.again()
}

// sendAgain sends the upstream, which is new, what is kept.
func (l *link) sendAgain() {
	l.pending, l.recent, l.skip = 0, 0, 0
	k := l.keep
	if k == nil {
		return
	}
	frames, from := k.window, k.base
	marks := make([]mark, 0, len(k.marks))
	var data []byte
	for _, m := range k.marks {
		data = appendData(data, frames[:m.at-from])
		frames, from = frames[m.at-from:], m.at
		marks = append(marks, mark{at: int64(len(data)), sent: int64(len(data)), when: l.s.now()})
	}
	k.window, k.marks, k.base, k.given = k.window[:0], k.marks[:0], 0, 0
	l.pending, l.recent = int32(len(marks)), int32(len(marks))
	if l.keeping() {
		k.marks = append(k.marks, marks...)
	}
	if len(data) > 0 {
		l.s.up.send(data)
	}
}

// appendData appends the data frames of frames, which are whole, to b.
func appendData(b, frames []byte) []byte {
	for len(frames) > 0 {
		h, n, err := websocket.ParseHeader(frames)
		end := n + int(h.Length)
		if err != nil || n == 0 || end > len(frames) {
			return b // it has been walked before: this does not happen
		}
		if !h.Opcode.Control() {
			b = append(b, frames[:end]...)
		}
		frames = frames[end:]
	}
	return b
}
