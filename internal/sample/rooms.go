package sample

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	maxRooms    = 256
	maxMembers  = 256     // of one room
	maxName     = 64      // bytes of a room's or a person's name
	maxLine     = 4 << 10 // bytes of a line
	memberQueue = 64      // messages that a slow reader may be behind
)

var errFull = errors.New("chat: no room left")

// ChatMessage is what /ws/chat sends: a line somebody wrote ("message"), or who came ("joined") or went ("left").
type ChatMessage struct {
	Type     string    `json:"type"`
	Room     string    `json:"room"`
	From     string    `json:"from"`
	Instance string    `json:"instance"` // the instance that From is connected to
	Text     string    `json:"text,omitempty"`
	Members  int       `json:"members"` // in the room, over all instances
	Time     time.Time `json:"time"`
}

// Rooms are the chat rooms that the instances of a service share. The zero value is ready. A room exists
// while somebody is in it. Everyone in a room gets its messages in the same order.
type Rooms struct {
	slow atomic.Int64 // members put out because they did not read, since start

	mu    sync.Mutex // guards the following, and every member's queue against its close
	rooms map[string]map[*member]struct{}
}

// member is one session in one room.
type member struct {
	rooms                *Rooms
	room, name, instance string
	queue                chan []byte // closed when the member is out of the room
	late                 atomic.Bool // it is out because it did not read
}

// SlowReaders is the number of sessions that were closed because they did not read, since start.
func (r *Rooms) SlowReaders() int64 { return r.slow.Load() }

func (r *Rooms) join(room, name, instance string) (*member, error) {
	m := &member{rooms: r, room: room, name: name, instance: instance, queue: make(chan []byte, memberQueue)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rooms == nil {
		r.rooms = make(map[string]map[*member]struct{})
	}
	members := r.rooms[room]
	if members == nil {
		if len(r.rooms) >= maxRooms {
			return nil, errFull
		}
		members = make(map[*member]struct{})
		r.rooms[room] = members
	}
	if len(members) >= maxMembers {
		return nil, errFull
	}
	members[m] = struct{}{}
	r.send(m, "joined", "")
	return m, nil
}

// say gives a line to everyone in the room, the speaker included.
func (m *member) say(text string) {
	m.rooms.mu.Lock()
	defer m.rooms.mu.Unlock()
	m.rooms.send(m, "message", text)
}

// leave takes the member out of the room and tells the others. Only the first call does anything.
func (m *member) leave() {
	m.rooms.mu.Lock()
	defer m.rooms.mu.Unlock()
	m.rooms.remove(m)
}

// remove is leave with mu held.
func (r *Rooms) remove(m *member) {
	members := r.rooms[m.room]
	if _, in := members[m]; !in {
		return
	}
	delete(members, m)
	close(m.queue)
	if len(members) == 0 {
		delete(r.rooms, m.room)
		return
	}
	r.send(m, "left", "")
}

// send never waits: a member whose queue is full is put out. mu is held.
func (r *Rooms) send(from *member, kind, text string) {
	members := r.rooms[from.room]
	message := mustJSON(ChatMessage{
		Type: kind, Room: from.room, From: from.name, Instance: from.instance,
		Text: text, Members: len(members), Time: time.Now().UTC(),
	})
	var late []*member
	for m := range members {
		select {
		case m.queue <- message:
		default:
			late = append(late, m)
		}
	}
	for _, m := range late {
		m.late.Store(true)
		r.slow.Add(1)
		r.remove(m)
	}
}

// chat puts the session into the room named by the query.
func (s *service) chat(w http.ResponseWriter, r *http.Request) {
	room, name := r.URL.Query().Get("room"), r.URL.Query().Get("name")
	if room == "" {
		room = "lobby"
	}
	if name == "" {
		name = "guest"
	}
	if len(room) > maxName || len(name) > maxName || !utf8.ValidString(room+name) {
		http.Error(w, "room and name: UTF-8, 64 bytes at most", http.StatusBadRequest)
		return
	}
	c := s.accept(w, r, maxLine, websocket.AcceptOptions{InsecureSkipVerify: true})
	if c == nil {
		return
	}
	defer s.server.leave(c)
	m, err := s.cfg.Rooms.join(room, name, s.cfg.InstanceName)
	if err != nil {
		s.cfg.Log.Info("chat refused", "room", room, "err", err)
		c.Close(websocket.StatusTryAgainLater, "too many people or rooms")
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.deliver(c, m) })
	s.listen(c, m)
	m.leave()
	wg.Wait()
}

// listen reads the member's lines until the session ends.
func (s *service) listen(c *websocket.Conn, m *member) {
	for {
		kind, line, err := c.Read(context.Background())
		switch {
		case err != nil:
			return
		case kind != websocket.MessageText:
			c.Close(websocket.StatusUnsupportedData, "lines of text only")
			return
		case !utf8.Valid(line):
			c.Close(websocket.StatusInvalidFramePayloadData, "text is not UTF-8")
			return
		}
		m.say(string(line))
	}
}

// deliver writes the room's messages to the member until it is out of the room or the session ends.
func (s *service) deliver(c *websocket.Conn, m *member) {
	for message := range m.queue {
		if m.late.Load() {
			break // what it missed cannot be made good: it is told instead
		}
		if write(c, websocket.MessageText, message) != nil {
			m.leave()
		}
	}
	if m.late.Load() {
		s.cfg.Log.Warn("slow reader closed", "room", m.room, "name", m.name)
		c.Close(websocket.StatusPolicyViolation, "slow reader")
	}
}
