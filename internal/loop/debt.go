package loop

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// DefaultMaxHeld is how many bytes a Loop may hold for slow readers where Options say nothing: for a thousand that take
// nothing at all.
const DefaultMaxHeld = 64 << 20

// A Debt is what a Loop holds for one slow reader. Its owner keeps it at one place, and calls Owe each time that it has
// changed. The zero Debt owes nothing. Owned by the loop.
type Debt struct {
	h          Handler
	bytes      int64
	told       bool // Excess was told
	next, prev *Debt
}

// Owe says that d, of h, is now so many bytes. If the Loop holds too much then, the handler of its largest Debt is told
// Excess, soon, and is to give it up. On the loop only.
func (l *Loop) Owe(d *Debt, h Handler, bytes int64) {
	more := bytes - d.bytes
	switch {
	case d.bytes == 0 && bytes > 0:
		d.h, d.prev, d.next = h, nil, l.debts
		if d.next != nil {
			d.next.prev = d
		}
		l.debts = d
	case d.bytes > 0 && bytes == 0:
		l.forgive(d)
	}
	d.bytes = bytes
	if l.account.held.Add(more) > l.account.most && more > 0 {
		l.relieve()
	}
}

// forgive takes d, which is paid, off the list.
func (l *Loop) forgive(d *Debt) {
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		l.debts = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	}
	*d = Debt{}
}

// relieve picks the one whose end helps most.
func (l *Loop) relieve() {
	var worst *Debt
	left := l.account.held.Load() // once all who were told have given up
	for d := l.debts; d != nil; d = d.next {
		switch {
		case d.told:
			left -= d.bytes
		case worst == nil || d.bytes > worst.bytes:
			worst = d
		}
	}
	if worst == nil || left <= l.account.most {
		return
	}
	worst.told = true
	l.account.note()
	h := worst.h
	l.Post(func() { h.Ready(l, Excess) })
}

// An account is the sum of debts: of one Loop that polls, or of all pumped sessions of an Engine.
type account struct {
	most int64 // constant
	log  *slog.Logger

	held     atomic.Int64
	relieved atomic.Int64 // how often Excess was told
	noted    atomic.Int64 // how much of that is in the log
	due      atomic.Bool  // a line is on its way
}

func newAccount(o *Options) *account {
	a := &account{most: o.MaxHeld, log: o.Log}
	if a.most <= 0 {
		a.most = DefaultMaxHeld
	}
	return a
}

// noteEvery is how often a full account is logged.
const noteEvery = time.Second

// note counts one more, and sees to it that the log has it within a second.
func (a *account) note() {
	a.relieved.Add(1)
	if a.due.CompareAndSwap(false, true) {
		time.AfterFunc(noteEvery, a.report)
	}
}

func (a *account) report() {
	a.due.Store(false)
	all := a.relieved.Load()
	a.log.Warn("slow readers cut off: they hold too much memory", "sessions", all-a.noted.Swap(all), "held", a.held.Load(), "limit", a.most)
}
