package main

import (
	"strings"
	"testing"
	"time"
)

func TestSessionsWatch(t *testing.T) {
	var w sessionsWatch
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	list := func(all ...liveSession) []string {
		t.Helper()
		var out strings.Builder
		if err := w.print(&out, all, now, 2); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
		return strings.Split(out.String(), "\n")
	}
	got := list(liveSession{ID: "a", MessagesIn: 100}, liveSession{ID: "b"})
	if got[0] != "03:04:05  sessions 2; since the last list 0 opened, 0 ended, 0 moves, 0.0 messages/s in, 0.0 out" ||
		!strings.HasPrefix(got[2], "a ") || !strings.HasPrefix(got[3], "b ") {
		t.Errorf("%q", got)
	}
	got = list(liveSession{ID: "b", MessagesIn: 3, MessagesOut: 4, Moves: 2}, liveSession{ID: "c", MessagesIn: 50}, liveSession{ID: "d"})
	if got[0] != "03:04:07  sessions 3; since the last list 2 opened, 1 ended, 2 moves, 1.5 messages/s in, 2.0 out" ||
		!strings.HasPrefix(got[2], "b ") || !strings.HasPrefix(got[3], "c ") || got[4] != "" {
		t.Errorf("%q", got)
	}
	if fields := strings.Fields(got[2]); fields[2] != "1.5" || fields[3] != "2.0" || fields[4] != "2" {
		t.Errorf("%q", got[2])
	}
}
