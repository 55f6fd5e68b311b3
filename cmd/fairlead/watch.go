package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

type sessionsWatchCommand struct {
	clientFlags
	Interval time.Duration `default:"2s" help:"Between two lists, 100ms at least."`
	Rows     int           `default:"20" help:"How many sessions to list, the busiest first."`
	Count    int           `help:"End after so many lists. Default: with Ctrl-C."`
}

// minWatch bounds how often a gateway is asked for all its sessions.
const minWatch = 100 * time.Millisecond

// Run lists the busiest sessions until it is told to end. A gateway that does not answer for once is asked again.
func (c *sessionsWatchCommand) Run() error {
	if c.Interval < minWatch {
		return fmt.Errorf("--interval %v: want %v at least", c.Interval, minWatch)
	}
	screen := false // redrawn, where there is one
	if info, err := os.Stdout.Stat(); err == nil {
		screen = info.Mode()&os.ModeCharDevice != 0
	}
	var w sessionsWatch
	for n := 1; ; n++ {
		all, err := c.sessions()
		switch {
		case err != nil && n == 1:
			return err
		case err != nil:
			fmt.Fprintln(os.Stderr, "fairlead:", err)
		default:
			if screen {
				fmt.Print("\x1b[H\x1b[2J")
			}
			if err := w.print(os.Stdout, all, time.Now(), c.Rows); err != nil {
				return err
			}
		}
		if n == c.Count {
			return nil
		}
		time.Sleep(c.Interval)
	}
}

// sessions reads the whole list.
func (c *clientFlags) sessions() (all []liveSession, err error) {
	err = c.sessionPages(func(body []byte) error {
		var page []liveSession
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("%s: answer: %w", c.Gateway, err)
		}
		all = append(all, page...)
		return nil
	})
	return all, err
}

// A sessionsWatch knows the list before.
type sessionsWatch struct {
	at     time.Time
	before map[string]liveSession
}

// A busySession is a session with what passed since the list before, in messages a second.
type busySession struct {
	liveSession
	in, out float64
}

// print writes one list, and what has changed since the one before.
func (w *sessionsWatch) print(to io.Writer, all []liveSession, now time.Time, rows int) error {
	since := now.Sub(w.at).Seconds()
	next := make(map[string]liveSession, len(all))
	busy := make([]busySession, 0, len(all))
	opened, moved := 0, 0
	var in, out float64
	for _, s := range all {
		next[s.ID] = s
		b := busySession{liveSession: s}
		was, known := w.before[s.ID]
		switch {
		case known:
			b.in, b.out = float64(s.MessagesIn-was.MessagesIn)/since, float64(s.MessagesOut-was.MessagesOut)/since
			moved += s.Moves - was.Moves
		case w.before != nil:
			opened++
		}
		in, out = in+b.in, out+b.out
		busy = append(busy, b)
	}
	ended := len(w.before) + opened - len(all)
	if w.before == nil {
		ended = 0
	}
	w.at, w.before = now, next
	slices.SortStableFunc(busy, func(a, b busySession) int { return cmp.Compare(b.in+b.out, a.in+a.out) })
	busy = busy[:min(len(busy), max(rows, 0))]

	fmt.Fprintf(to, "%s  sessions %d; since the last list %d opened, %d ended, %d moves, %.1f messages/s in, %.1f out\n",
		now.Format(time.TimeOnly), len(all), opened, ended, moved, in, out)
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SESSION\tCLIENT\tSERVICE\tINSTANCE\tAGE\tIN/s\tOUT/s\tMOVES\tPATH")
	for _, s := range busy {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%.1f\t%.1f\t%d\t%s\n",
			s.ID, s.Client, s.Service, s.Instance, s.age(), s.in, s.out, s.Moves, s.Path)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(to)
	return err
}
