package relay

import "github.com/fairlead-gateway/fairlead/internal/websocket"

// part gives the old upstream's stream up, unless it was left.
func (s *Session) part() {
	u, l := &s.up, s.link
	u.dropTail()
	u.drop()
	if !l.left {
		l.left = true
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
// connection has brought the last acknowledgement with it.
func (l *link) settleAcks(exact bool) {
	k, m, u := l.keep, l.move, &l.s.up
	if k == nil || l.s.policy.Replay || m.settled {
		return
	}
	m.settled = true
	taken := m.parkedAt - int64(u.waiting())
	unacked := u.stream.Unacked()
	if !l.exact || unacked < 0 {
		l.forget(l.before(taken))
		return
	}
	l.forget(l.before(taken - int64(unacked)))
	if !exact && len(k.marks) > 0 && l.s.now()-k.marks[0].when < ackTime {
		// A reset may have overtaken the acknowledgement.
		l.forget(l.before(taken))
	}
}

// seeOff leaves the upstream: it is sent last behind what waits for it, and has CloseTimeout to go.
func (s *Session) seeOff(last []byte) {
	u, l := &s.up, s.link
	if !u.has(flagDead) {
		rest := last
		if u.waiting() > 0 {
			c := u.cold()
			rest = append(append([]byte(nil), c.out[c.sent:]...), last...)
		}
		l.left = true
		if l.old != nil {
			l.old.end(true)
		}
		l.old = newLeaver(l, u.stream, rest)
	}
	s.part()
}

// swap has the next upstream take over.
func (s *Session) swap() {
	l, u := s.link, &s.up
	m := l.move
	if !u.has(flagGone) {
		l.settleAcks(false)
		s.part()
	}
	l.move = nil
	n := &link{s: s, old: l.old, ping: l.ping, epoch: l.epoch, swallow: uint8(min(int(l.pings)+int(l.swallow), 255))}
	l.ping, l.fixed = nil, true
	s.link = n
	u.state = flagHold
	u.stream, u.cur = m.next.Stream, websocket.NewCursor(false, m.next.Deflate)
	u.lastRead.Store(int64(s.now()))
	if len(m.next.Head) > 0 {
		u.set(flagEarly)
		u.cold().early = m.next.Head
	}
	n.judge()
	u.stream.Handle(n)
	unknown := l.unanswered()
	if l.keep != nil {
		n.keep, l.keep = l.keep, nil
		unknown -= int32(n.sendAgain(m.parkedAt))
	}
	s.uncertain.Add(max(unknown, 0))
	s.moves.Add(1)
	s.stale = true
	s.owner.Moved(s, n.epoch, true)
	s.again()
}

// sendAgain sends the new upstream of l what its keep has from the one before. It returns how many messages of it that one
// was given, too: they are among the first parkedAt bytes.
func (l *link) sendAgain(parkedAt int64) (twice int) {
	k := l.keep
	all, marks := k.window, k.marks
	twice = l.before(parkedAt)
	k.window, k.marks, k.given = nil, nil, 0
	from := k.base
	var data []byte
	var ends []int
	for _, m := range marks {
		data = appendData(data, all[:m.at-from])
		all, from = all[m.at-from:], m.at
		ends = append(ends, len(data))
	}
	k.base = 0
	l.pending, l.recent = int32(len(ends)), int32(len(ends))
	if len(ends) == 0 {
		return twice
	}
	if l.keeping() {
		now := l.s.now()
		for _, end := range ends {
			k.marks = append(k.marks, mark{at: int64(end), sent: int64(end), when: now})
		}
	}
	l.s.up.send(data)
	return twice
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
