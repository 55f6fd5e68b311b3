package sample

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestChatAcrossInstances(t *testing.T) {
	rooms := new(Rooms)
	one := start(t, Config{InstanceName: "one", Rooms: rooms})
	two := start(t, Config{InstanceName: "two", Rooms: rooms})
	next := func(c *websocket.Conn) string {
		m := decode[ChatMessage](t, readText(t, c))
		if m.Room != "r" || time.Since(m.Time) > time.Minute {
			t.Errorf("message %+v", m)
		}
		return fmt.Sprintf("%s %s@%s %d %s", m.Type, m.From, m.Instance, m.Members, m.Text)
	}
	want := func(c *websocket.Conn, want string) {
		t.Helper()
		if got := next(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	ann, _ := dial(t, one, "/chat?room=r&name=ann", nil)
	want(ann, "joined ann@one 1 ")
	ben, _ := dial(t, two, "/chat?room=r&name=ben", nil)
	want(ann, "joined ben@two 2 ")
	want(ben, "joined ben@two 2 ")
	other, _ := dial(t, two, "/chat?room=other&name=eve", nil)
	if got := decode[ChatMessage](t, readText(t, other)); got.Members != 1 {
		t.Errorf("another room has %d members, want 1", got.Members)
	}
	sendText(t, ann, "hi")
	sendText(t, ben, "ho")
	first, second := next(ann), next(ann)
	want(ben, first) // the order is the same for everyone
	want(ben, second)
	if all := first + second; !strings.Contains(all, "message ann@one 2 hi") || !strings.Contains(all, "message ben@two 2 ho") {
		t.Errorf("lines %q, %q", first, second)
	}
	ben.Close(websocket.StatusNormalClosure, "")
	want(ann, "left ben@two 1 ")
}

func TestChatRefuses(t *testing.T) {
	i := start(t, Config{})
	if resp, _ := get(t, i.URL("/ws/chat?room="+strings.Repeat("x", maxName+1))); resp.StatusCode != 400 {
		t.Errorf("long name: %d, want 400", resp.StatusCode)
	}
	c, _ := dial(t, i, "/chat", nil)
	if err := c.Write(wait(t), websocket.MessageBinary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	wantClose(t, c, websocket.StatusUnsupportedData, "lines of text only")
}

func TestRoomsBounds(t *testing.T) {
	rooms := new(Rooms)
	for n := range maxRooms {
		if _, err := rooms.join(fmt.Sprint(n), "x", "one"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rooms.join("more", "x", "one"); err == nil {
		t.Error("one room too many was opened")
	}

	rooms = new(Rooms)
	i := start(t, Config{Rooms: rooms})
	var reading []*member
	for range maxMembers {
		m, err := rooms.join("lobby", "x", "one")
		if err != nil {
			t.Fatal(err)
		}
		reading = append(reading, m)
		for _, m := range reading {
			<-m.queue
		}
	}
	c, _ := dial(t, i, "/chat", nil)
	wantClose(t, c, websocket.StatusTryAgainLater, "too many people or rooms")
	for _, m := range reading {
		m.leave()
		m.leave()
	}
	if len(rooms.rooms) != 0 {
		t.Errorf("%d rooms are left, want none", len(rooms.rooms))
	}
}

func TestSlowReaderIsPutOut(t *testing.T) {
	rooms := new(Rooms)
	slow, _ := rooms.join("r", "slow", "one")
	fast, _ := rooms.join("r", "fast", "one")
	<-fast.queue
	said := 0
	for ; rooms.SlowReaders() == 0 && said < 2*memberQueue; said++ {
		fast.say("x")
		<-fast.queue
	}
	if slow.late.Load() == fast.late.Load() || said != memberQueue-1 { // two places were taken by the joins
		t.Errorf("after %d lines slow is out: %v, fast is out: %v", said, slow.late.Load(), fast.late.Load())
	}
	if m := decode[ChatMessage](t, string(<-fast.queue)); m.Type != "left" || m.From != "slow" || m.Members != 1 {
		t.Errorf("the room is told %+v", m)
	}
}

// TestSlowReaderIsTold: a reader that does not read until it is too late is told why.
func TestSlowReaderIsTold(t *testing.T) {
	rooms := new(Rooms)
	i := start(t, Config{Rooms: rooms})
	c, _ := dial(t, i, "/chat", nil)
	readText(t, c) // it is in the room
	talker, err := rooms.join("lobby", "talker", "two")
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", maxLine)
	for rooms.SlowReaders() == 0 {
		talker.say(line)
		for len(talker.queue) > 0 {
			<-talker.queue
		}
	}
	wantClose(t, c, websocket.StatusPolicyViolation, "slow reader")
}
