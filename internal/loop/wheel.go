package loop

import (
	"math"
	"math/bits"
	"time"
)

// A wheel is the timers of one poller: five wheels of 64 slots, each slot of a wheel as long as the whole wheel below. To
// set or to remove a timer is a few instructions, whatever their number, and a timer that is not set costs nothing. A
// timer runs in the tick after its time at the latest, never before its time. Owned by the loop.
type wheel struct {
	tick  int64 // the last one that was done; tick 0 is the loop's first
	due   int64 // nothing is to be done before this one
	count int   // timers that are set
	used  [wheels]uint64
	slots [wheels][slots]*Timer
	taken *Timer // what empty still has to look at
}

const (
	tickTime  = 4 * time.Millisecond
	wheels    = 5
	slotBits  = 6
	slots     = 1 << slotBits
	takenSlot = wheels*slots + 1         // as Timer.slot: in taken
	farthest  = 1<<(wheels*slotBits) - 1 // ticks, about 49 days: what is later is looked at again then
)

// set has t run d after now, instead of any time set before. Times are those of Clock.
func (w *wheel) set(t *Timer, now, d time.Duration) {
	w.remove(t)
	if w.count == 0 {
		w.tick, w.due = ticks(now), math.MaxInt64 // nobody has counted
	}
	t.due = max(now+d, 1)
	w.count++
	w.put(t)
}

// ticks is the tick in which the time at lies.
func ticks(at time.Duration) int64 { return int64(at / tickTime) }

// when is the tick in which t is to run.
func (t *Timer) when() int64 { return ticks(t.due + tickTime - 1) }

// put files t by how far away it is.
func (w *wheel) put(t *Timer) {
	at := min(max(t.when(), w.tick+1), w.tick+farthest)
	level := 0
	if away := at - w.tick; away > 0 {
		level = (bits.Len64(uint64(away)) - 1) / slotBits
	}
	i := int(at>>(level*slotBits)) & (slots - 1)
	head := &w.slots[level][i]
	t.slot = uint16(level<<slotBits|i) + 1
	w.due = min(w.due, at>>(level*slotBits)<<(level*slotBits))
	t.prev, t.next = nil, *head
	if *head != nil {
		(*head).prev = t
	}
	*head = t
	w.used[level] |= 1 << i
}

// remove forgets t, if it is set.
func (w *wheel) remove(t *Timer) {
	if t.slot == 0 {
		return
	}
	level, i := int(t.slot-1)>>slotBits, int(t.slot-1)&(slots-1)
	switch {
	case t.prev != nil:
		t.prev.next = t.next
	case t.slot == takenSlot:
		w.taken = t.next
	default:
		if w.slots[level][i] = t.next; t.next == nil {
			w.used[level] &^= 1 << i
		}
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.slot = nil, nil, 0
	w.count--
}

// next is the next tick in which there is something to do. A timer must be set.
func (w *wheel) next() int64 {
	next := w.tick + farthest + 1
	for level := range wheels {
		if w.used[level] == 0 {
			continue
		}
		shift := level * slotBits
		// The slot of now counts as a whole turn away: it was done when its time began.
		here := w.tick>>shift + 1
		away := bits.TrailingZeros64(bits.RotateLeft64(w.used[level], -int(here&(slots-1))))
		next = min(next, (here+int64(away))<<shift)
	}
	return next
}

// timeout is how long the loop may sleep from now on; negative: for ever.
func (w *wheel) timeout(now time.Duration) time.Duration {
	if w.count == 0 {
		return -1
	}
	return max(time.Duration(w.next())*tickTime-now, 0)
}

// run runs what has come due by now.
func (w *wheel) run(now time.Duration) {
	to := ticks(now)
	for w.count > 0 && w.due <= to {
		next := w.next()
		if w.due = next; next > to {
			break
		}
		w.tick = next
		// From the longest slots to the shortest: what is not due yet moves to a shorter one.
		for level := wheels - 1; level >= 0; level-- {
			shift := level * slotBits
			if next&(1<<shift-1) == 0 {
				w.empty(level, int(next>>shift)&(slots-1))
			}
		}
	}
	w.tick = max(w.tick, to)
}

// empty runs the timers of a slot that are due, and files the others anew. A task may set and remove any timer, also one
// that lay in this slot, so they wait in a list of their own.
func (w *wheel) empty(level, i int) {
	w.taken = w.slots[level][i]
	w.slots[level][i] = nil
	w.used[level] &^= 1 << i
	for t := w.taken; t != nil; t = t.next {
		t.slot = takenSlot
	}
	for w.taken != nil {
		t := w.taken
		w.remove(t)
		if t.when() <= w.tick {
			t.expire()
			continue
		}
		w.count++
		w.put(t)
	}
}
