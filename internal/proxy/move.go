package proxy

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A move's life: the relay asks Lost, Lost makes a search, the mover of the service gives it its turns (mover.go), a turn is one
// attempt at one endpoint, and resume gives the relay what came of it. The relay says in Moved how it ended.

// What bounds the moves of one session.
const (
	failoverQueue = 60 * time.Second // it waits so long for its turn
	goodAfter     = 10 * time.Second // a move is good once its endpoint has sent a message, or has lived so long
	poorMoves     = 3                // so many in a row that are not end the session
	lastResort    = time.Second      // after a loss, when the lost endpoint itself counts again if there is no other
)

// What clients are told at the end of sessions that could have moved.
const (
	reasonLeaving   = "The service instance is going away"
	reasonUnhealthy = "The service instance does not answer"
	reasonLost      = "Connection to the service was lost"
	reasonNoOther   = "The service instance was lost, and no other took the session over"
	reasonWithin    = "The service instance was lost within a message"
	reasonFlapping  = "The service instances fail one after the other"
)

// moving is what a session knows of its moves. Owned by its loop.
type moving struct {
	search   *search            // under way; nil: none
	next     *upstream.Endpoint // on which a place is taken for it
	at       time.Time          // of the last move
	messages int64              // of services to the client, by then
	poor     int                // moves in a row that were not good
	wanted   string             // ID of the endpoint that an operator wants it to move to; "": any
}

// Lost implements relay.Owner: whether another endpoint is looked for, and what the client is told if not, or if there is none.
func (ss *Session) Lost(r *relay.Session, loss relay.Loss) relay.Verdict {
	if loss.Cause == relay.CausePong {
		ss.endpoint.Load().Failed(errNoPong)
	}
	v := ss.farewell(&loss)
	if !ss.mayMove(&loss, &v) {
		return v
	}
	if ss.moving == nil {
		ss.moving = new(moving)
	}
	q := &search{
		ss: ss, relay: r, epoch: loss.Epoch, lost: ss.endpoint.Load(), planned: loss.Planned, cause: loss.Cause,
		verdict: v, began: time.Now(), hurried: loss.Waiting > 0,
	}
	if loss.Cause == causeMove {
		q.wanted = ss.moving.wanted
	}
	ss.moving.search = q
	q.mover = ss.owner.moverOf(q.lost.Service())
	if loss.Cause == relay.CausePong {
		q.mover.hangs(q.lost)
	}
	if loss.Code == websocket.GoingAway {
		ss.owner.suspect(q)
	} else {
		q.mover.add(q)
	}
	v.Wait = failoverQueue + ss.policy.moving.FailoverTimeout + time.Second // the search ends before
	return v
}

// farewell is what the client is told if the session does not move.
func (ss *Session) farewell(loss *relay.Loss) relay.Verdict {
	v := relay.Verdict{Code: websocket.ServiceRestart}
	switch may := ss.policy.failover != route.FailoverOff; {
	case loss.Cause == causeMove || loss.Cause == causeRebalance:
		v.Stay = true
	case loss.Cause == causeUnhealthy || loss.Cause == relay.CausePong && ss.policy.moving.OnUnhealthy == route.CloseAll:
		v.Reason = reasonUnhealthy
	case loss.Cause == causeDrain || ss.endpoint.Load().Leaving():
		v.Reason = reasonLeaving
	case may && loss.Movable:
		v.Reason = reasonNoOther
	case may:
		v.Reason = reasonWithin
	case ss.policy.returns: // for graphql-ws and others 1011 is final
		v.Reason = reasonLost
	default:
		v.Code, v.Reason = websocket.Internal, reasonLost
	}
	return v
}

// mayMove tells whether another endpoint is looked for. If not, v may have been changed.
func (ss *Session) mayMove(loss *relay.Loss, v *relay.Verdict) bool {
	p, m := ss.policy, ss.moving
	switch {
	case ss.authOver():
		*v = relay.Verdict{Code: websocket.Policy, Reason: authEnded}
		return false
	case p.failover == route.FailoverOff || !loss.Movable || ss.owner.stopping.Load():
		return false
	case loss.Cause == causeDrain && p.moving.Drain == route.CloseAll:
		return false
	case (loss.Cause == causeUnhealthy || loss.Cause == relay.CausePong) && p.moving.OnUnhealthy == route.CloseAll:
		return false
	case p.auto && !loss.Planned && ss.owner.moverOf(ss.endpoint.Load().Service()).braked():
		v.Reason = reasonLost
		return false
	case m == nil || m.at.IsZero() || loss.Planned:
		return true
	}
	if loss.Answered || time.Since(m.at) >= goodAfter {
		m.poor = 0
		return true
	}
	if m.poor++; m.poor >= poorMoves {
		v.Code, v.Reason = websocket.Internal, reasonFlapping
		return false
	}
	return true
}

// Moved implements relay.Owner: how the search that Lost began has ended.
func (ss *Session) Moved(r *relay.Session, epoch uint32, ok bool) {
	m := ss.moving
	q := m.search
	if q == nil || q.epoch != epoch {
		return
	}
	m.search = nil
	next := m.next
	m.next = nil
	switch {
	case ok:
		var st relay.Stats
		r.Stats(&st)
		m.at, m.messages = time.Now(), st.MessagesOut
		ss.endpoint.Swap(next).Release()
		q.mover.fare(r, m.messages)
	case next != nil:
		next.Release()
	}
	q.leash.end(nil)
	if !ok && q.none.Load() {
		ss.places.tally.unmoved.Add(1)
	}
	q.mover.finish(q, ok)
	ss.heed(r)
}

// leftBadly tells whether the session ended as one does whose service does not take sessions over: with a Close that blames the
// client, before any message.
func (m *moving) leftBadly(res *relay.Result) bool {
	return !m.at.IsZero() && res.By == relay.Upstream && res.MessagesOut == m.messages &&
		(res.Code == websocket.ProtocolError || res.Code == websocket.Unsupported || res.Code == websocket.Policy || res.Code >= 4000)
}

// A search looks for another endpoint of the service for one session. All but its leash is owned by whoever runs its turn.
type search struct {
	ss      *Session
	relay   *relay.Session
	mover   *mover
	epoch   uint32
	lost    *upstream.Endpoint
	planned bool
	cause   string        // of the loss
	wanted  string        // ID of the one endpoint that is asked; "": any is
	hurried bool          // bytes of the client wait for it
	verdict relay.Verdict // if it finds none
	began   time.Time
	until   time.Time // the end of failoverTimeout; zero: it had no turn yet
	tried   []*upstream.Endpoint
	pauses  int
	none    atomic.Bool // it has found none
	ends    atomic.Bool // and its session ends
	leash   leash       // ends with the search

	// Guarded by the mover's lock.
	added, finished bool
}

// over tells that nobody waits for the search any more.
func (q *search) over() bool { return q.leash.ended() != nil }

// turn is one attempt. again: another turn is due after a pause, which may be 0. dialled: an endpoint was asked.
func (q *search) turn(r loop.Runner) (pause time.Duration, again, dialled bool) {
	now := time.Now()
	switch {
	case q.over():
		return 0, false, false
	case q.until.IsZero() && now.Sub(q.began) > failoverQueue:
		q.giveUp(q.verdict)
		return 0, false, false
	case q.until.IsZero():
		q.until = now.Add(q.ss.policy.moving.FailoverTimeout)
	case !now.Before(q.until):
		q.giveUp(q.verdict)
		return 0, false, false
	}
	if q.ss.authOver() {
		q.mover.s.Log.Debug("session not taken over: its authentication has ended", "service", q.lost.Service())
		q.relay.GiveUp(q.epoch, relay.Verdict{Code: websocket.Policy, Reason: authEnded})
		return 0, false, false
	}
	ep := q.take()
	if ep == nil {
		if q.verdict.Stay { // nothing is lost
			q.giveUp(q.verdict)
			return 0, false, false
		}
		q.tried, q.pauses = q.tried[:0], q.pauses+1
		return min(backoff(q.pauses), max(time.Until(q.until), time.Millisecond)), true, false
	}
	q.mover.asks(ep)
	began := time.Now()
	up, err := q.attempt(r, ep)
	q.mover.heard(ep, err)
	if !q.over() && time.Now().Before(q.until) {
		noteMove(ep, time.Since(began), err)
	}
	if err == nil {
		if !q.resume(r, ep, up) {
			ep.Release()
			return 0, false, true
		}
		q.mover.s.Log.Debug("session has another instance", "service", ep.Service(), "from", q.lost.ID, "instance", ep.ID, "cause", q.cause,
			"took", time.Since(q.began))
		return 0, false, true
	}
	ep.Release()
	var refused *refusal
	switch {
	case q.over():
	case errors.As(err, &refused):
		q.mover.s.Log.Info("session not taken over", "service", ep.Service(), "instance", ep.ID, "err", err)
		q.giveUp(relay.Verdict(*refused))
	default:
		q.mover.s.Log.Debug("session not taken over", "service", ep.Service(), "instance", ep.ID, "err", err)
		q.tried = append(q.tried, ep)
		return 0, true, true
	}
	return 0, false, true
}

// giveUp ends the search. An endpoint that was to be left, and is not any more, keeps its session.
func (q *search) giveUp(v relay.Verdict) {
	v.Stay = q.verdict.Stay || q.planned && !q.lost.Leaving() && q.lost.Healthy()
	q.none.Store(true)
	q.ends.Store(!v.Stay)
	q.relay.GiveUp(q.epoch, v)
}

// take takes a place on an endpoint that is worth an attempt; nil: there is none now.
func (q *search) take() *upstream.Endpoint {
	service, choice := q.lost.Newest(), q.ss.policy.choice
	if q.verdict.Stay {
		choice.Balance = upstream.LeastSessions
	}
	take := func(exclude ...*upstream.Endpoint) (*upstream.Endpoint, error) {
		return service.Take(choice, exclude...)
	}
	if key := q.ss.key; key != 0 {
		take = func(exclude ...*upstream.Endpoint) (*upstream.Endpoint, error) {
			return service.TakeBy(key, exclude...)
		}
	}
	passed := append(slices.Clone(q.tried), q.lost)
	if q.wanted != "" {
		ep, err := service.PickNamed(q.wanted, passed...)
		if err != nil {
			return nil
		}
		ep.Acquire()
		return ep
	}
	ep, err := take(append(q.mover.shy(), passed...)...)
	if err != nil {
		ep, err = take(passed...)
	}
	if err != nil && !q.planned && time.Since(q.began) >= lastResort {
		ep, err = take(q.tried...) // it may be back
	}
	if err != nil {
		return nil
	}
	return ep
}

// share is until when ep may answer: as long as there are others to ask, it does not get all the time that is left. One that hangs
// would use it up.
func (q *search) share(ep *upstream.Endpoint) time.Time {
	others := 0
	for _, e := range q.lost.Newest().Endpoints {
		if e != ep && e != q.lost && e.Takes() && !slices.Contains(q.tried, e) {
			others++
		}
	}
	left := time.Until(q.until)
	return q.until.Add(left/time.Duration(min(others, 2)+1) - left)
}

// resume gives the session its next upstream, on its loop. False: it was too late.
func (q *search) resume(r loop.Runner, ep *upstream.Endpoint, up *relay.Side) (ok bool) {
	do := func() {
		m := q.ss.moving
		if m.search == q && !q.over() {
			m.next = ep
			if ok = q.relay.Resume(*up, q.epoch); ok {
				return
			}
			m.next = nil
		}
		_, _ = up.Stream.Write(websocket.AppendClose(nil, &[4]byte{}, websocket.GoingAway, "client gone"))
		up.Stream.Close()
	}
	if r.Loop() != nil {
		do()
		return ok
	}
	var done loop.Gate
	q.relay.Loop().Post(func() { do(); done.Open() })
	done.Wait(r)
	return ok
}
