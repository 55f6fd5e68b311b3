package eureka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of a batch that a peer sends.
const (
	batchBytes = 8 << 20 // or bodyLimit, if that is more
	batchItems = 1000    // Netflix's servers send 250 at most
)

// Actions of replication, as they stand on the wire.
const (
	doRegister  = "Register"
	doHeartbeat = "Heartbeat"
	doCancel    = "Cancel"
	doStatus    = "StatusUpdate"
	doNoStatus  = "DeleteStatusOverride"
)

// replicated is one change that a registry passes on to another.
type replicated struct {
	action string
	key    leaseKey
	dirty  int64  // lastDirtyTimestamp; 0: not said
	status Status // of StatusUpdate and DeleteStatusOverride
	info   *Instance
}

// append appends the change as it stands on the wire.
func (m *replicated) append(b []byte) []byte {
	b = append(b, `{"appName":`...)
	b = appendJSONString(b, m.key.app)
	b = append(b, `,"id":`...)
	b = appendJSONString(b, m.key.id)
	if m.dirty > 0 {
		b = appendJSONInt(b, "lastDirtyTimestamp", m.dirty)
	}
	b = appendJSONText(b, "status", string(m.status))
	if m.info != nil {
		b = appendJSONText(b, "overriddenStatus", string(m.info.Overridden))
	}
	if m.action == doRegister {
		b = append(b, `,"instanceInfo":`...)
		b = appendJSONFields(b, m.info, false)
	}
	b = appendJSONText(b, "action", m.action)
	return append(b, '}')
}

// batch carries POST peerreplication/batch/ out: each change by itself, in order. Who may ask is who may register.
func (c *call) batch() {
	data, err := c.payload(max(c.r.cfg.bodyLimit(), batchBytes))
	if err != nil {
		c.refuse(err)
		return
	}
	var doc struct {
		List batchList `json:"replicationList"`
	}
	if err := json.Unmarshal(trimMark(data), &doc); err != nil {
		c.refuse(refuse("cannot parse request body: %v", err))
		return
	}
	c.by.replica = true
	b := []byte(`{"responseList":[`)
	for n, o := range doc.List {
		if n > 0 {
			b = append(b, ',')
		}
		status, newer := c.replicated(o)
		b = append(b, `{"statusCode":`...)
		b = strconv.AppendInt(b, int64(status), 10)
		if newer != nil {
			b = append(b, `,"responseEntity":`...)
			b = appendJSONFields(b, newer, false)
		}
		b = append(b, '}')
	}
	c.send(http.StatusOK, jsonType, append(b, `]}`...))
}

// A batchList is the list of a batch. It is read one by one, so that many small elements take no more than few do.
type batchList []object

// UnmarshalJSON is json's.
func (l *batchList) UnmarshalJSON(data []byte) error {
	*l = nil
	if !present(data) {
		return nil
	}
	if data[0] != '[' {
		return errors.New("replicationList is not a list")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	return elements(d, func(open bool) error {
		if len(*l) == batchItems {
			return fmt.Errorf("replicationList has more than %d elements", batchItems)
		}
		o := object{}
		*l = append(*l, o)
		return members(d, open, func(key string) error {
			var raw json.RawMessage
			err := d.Decode(&raw)
			if o[key] = raw; len(o) > maxReadMembers {
				return fmt.Errorf("an element of replicationList has more than %d members", maxReadMembers)
			}
			return err
		})
	})
}

// replicated carries one change out. newer is the instance as it is here, where the peer's is older.
func (c *call) replicated(o object) (status int, newer *Instance) {
	var r jsonReader
	key := leaseKey{strings.ToUpper(r.name(o, "appName")), r.name(o, "id")}
	dirty := min(r.number(o, "lastDirtyTimestamp"), maxDirty)
	state := ParseStatus(r.name(o, "status"))
	action := r.name(o, "action")
	status = http.StatusOK
	err := r.err
	switch {
	case err != nil:
		err = refuse("element of replicationList: %v", err)
	case action == doRegister:
		status = http.StatusNoContent
		newer, err = c.registered(key, o["instanceInfo"])
	case action == doHeartbeat:
		newer, err = c.r.renew(key, dirty, c.by)
	case action == doCancel:
		err = c.r.cancelled(key, dirty, c.by)
	case action == doStatus:
		err = c.r.override(key, state, dirty, c.by)
	case action == doNoStatus:
		err = c.r.restore(key, state, dirty, c.by)
	default:
		err = refuse("action %s is not known", quoted(action))
	}
	if err == nil {
		return status, nil
	}
	e, ok := errors.AsType[*refusal](err)
	if !ok {
		e = refuse("%v", err)
	}
	switch e.status {
	case http.StatusNotFound, http.StatusConflict, http.StatusGone: // everyday life
	case http.StatusForbidden:
		c.r.unauthorized.Add(1)
		c.r.warned(c.req, e.status, e.reason)
	default:
		c.r.refused.Add(1)
		c.r.warned(c.req, e.status, e.reason)
	}
	return e.status, newer
}

func (c *call) registered(key leaseKey, raw json.RawMessage) (newer *Instance, err error) {
	if !present(raw) {
		return nil, refuse("instanceInfo is missing")
	}
	if limit := c.r.cfg.bodyLimit(); int64(len(raw)) > limit {
		return nil, refuse("instanceInfo is longer than %d bytes", limit)
	}
	in, err := parseJSONInstance(raw)
	if err != nil {
		return nil, refuse("instanceInfo: %v", err)
	}
	if err := complete(in, key.app); err != nil {
		return nil, err
	}
	if in.ID != key.id {
		return nil, refuse("instanceInfo is of %s, not of %s", quoted(in.ID), quoted(key.id))
	}
	if err := check(in); err != nil {
		return nil, err
	}
	if err := checkReaches(in, c.r.cfg.AllowedHosts, near(c.req)); err != nil {
		return nil, err
	}
	dirty := in.LastDirty
	if err := c.r.register(in, c.by); err != nil {
		return nil, err
	}
	if newer = c.r.one(key); dirty > 0 && newer != nil && newer.LastDirty > dirty {
		return newer, &refusal{status: http.StatusConflict}
	}
	return nil, nil
}

// cancelled ends a lease that ended at a peer, unless this registry knows something newer than what ended.
func (r *Registry) cancelled(key leaseKey, dirty int64, by caller) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.held(key, by)
	switch {
	case err != nil:
		return err
	case l.static || dirty > 0 && l.inst.LastDirty > dirty:
		return &refusal{status: http.StatusConflict}
	}
	r.bury(key, l, false)
	if g := r.graveOf(key); g != nil {
		g.dirty = max(g.dirty, dirty)
	}
	r.remove(key, l)
	r.cancels.Add(1)
	r.log.Info("instance cancelled at a peer", "service", l.inst.ServiceID(), "instance", key.id, "by", by.name)
	return nil
}
