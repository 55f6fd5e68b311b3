package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// judge holds what the clients saw to what is promised, and prints the tallies.
func (c *chaos) judge() {
	done := map[string]int{}
	for _, e := range c.events {
		done[e.how]++
	}
	c.t.Logf("%d clients, %v, done to instances: %v; the test itself was late by %v at most",
		len(c.clients), c.length, done, c.lag.Round(time.Millisecond))
	log := c.accessLog()
	for _, mode := range chaosModes {
		c.judgeMode(mode, log)
	}
	c.printTimes()
}

func (c *chaos) judgeMode(mode string, log map[string]*chaosLine) {
	t := c.t
	var answered, missing, uncertain, moves, lost, silent, refused int
	closes := map[websocket.Code]int{}
	for _, p := range c.clients {
		if p.mode != mode {
			continue
		}
		line := log[p.name]
		if line == nil {
			line = &chaosLine{}
		}
		answered += p.answered
		missing += p.missing
		uncertain += line.uncertain
		moves += len(p.moves)
		lost += len(p.lost)
		silent += p.silent
		refused += p.refused
		for code, n := range p.closes {
			closes[code] += n
		}
		for _, what := range p.wrong {
			t.Errorf("%s %s: order: %s", mode, p.name, what)
		}
		if len(p.lost) > 0 { // with `off`: ended without a close code
			t.Errorf("%s %s: lost: %v; logged as %s", mode, p.name, p.lost, line.last)
		}
		if mode == "replay" && p.missing > 0 {
			t.Errorf("replay %s: %d answers missing", p.name, p.missing)
		}
		if mode != "off" && p.missing > line.uncertain {
			t.Errorf("%s %s: %d answers missing, %d counted as uncertain", mode, p.name, p.missing, line.uncertain)
		}
	}
	if mode == "off" && silent > 0 {
		t.Errorf("off: %d closes without a reason", silent)
	}
	t.Logf("%-9s answered %d, missing %d, uncertain %d, moves seen %d, lost %d, closes %v, not opened %d",
		mode, answered, missing, uncertain, moves, lost, closes, refused)
}

// A chaosLine is what the access logs say of one client.
type chaosLine struct {
	uncertain int
	last      string // how its last session ended
}

// accessLog reads the logs of both gateways, by client, once every session is in them.
func (c *chaos) accessLog() map[string]*chaosLine {
	all := map[string]*chaosLine{}
	for _, g := range c.gateways {
		waitFor(c.t, "no live session", 2*wait, []*process{g.process}, func() error {
			req, err := http.NewRequest(http.MethodGet, "http://"+g.plain+"/application/websockets", http.NoBody)
			if err != nil {
				return err
			}
			req.SetBasicAuth("admin", adminPassword)
			resp, err := g.client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var list []any
			if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
				return err
			}
			if len(list) > 0 {
				return fmt.Errorf("%d sessions", len(list))
			}
			return nil
		})
		g.stop(c.t) // its lines are written
		text, err := os.ReadFile(g.accessLog)
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			readChaosLine(line, all)
		}
	}
	return all
}

func readChaosLine(line string, all map[string]*chaosLine) {
	var rec struct {
		Path        string  `json:"path"`
		Status      int     `json:"status"`
		Instance    string  `json:"instance"`
		Duration    float64 `json:"duration_ms"`
		CloseCode   int     `json:"close_code"`
		CloseReason string  `json:"close_reason"`
		ClosedBy    string  `json:"closed_by"`
		Cause       string  `json:"cause"`
		Moves       int     `json:"moves"`
		Uncertain   int     `json:"uncertain"`
	}
	if json.Unmarshal([]byte(line), &rec) != nil {
		return
	}
	u, err := url.Parse(rec.Path)
	if err != nil || !u.Query().Has("client") {
		return
	}
	name := u.Query().Get("client")
	l := all[name]
	if l == nil {
		l = &chaosLine{}
		all[name] = l
	}
	l.uncertain += rec.Uncertain
	l.last = fmt.Sprintf("status %d, closed by %s, cause %q, %d %q, at %s after %d moves and %.1f s",
		rec.Status, rec.ClosedBy, rec.Cause, rec.CloseCode, rec.CloseReason, rec.Instance, rec.Moves, rec.Duration/1000)
}

// printTimes prints how long things took, as the clients and as the gateways saw it. Nothing of it is asserted.
func (c *chaos) printTimes() {
	seen := map[string][]time.Duration{}
	for _, p := range c.clients {
		for _, m := range p.moves {
			if e := c.event(m.from, m.at); e != nil {
				seen[e.how] = append(seen[e.how], m.at.Sub(e.at))
			}
		}
	}
	noticed, moved := map[string][]time.Duration{}, map[string][]time.Duration{}
	causes := map[string]map[string]int{}
	for _, m := range c.logged() {
		e := c.event(m.from, m.lost)
		if e == nil {
			continue
		}
		noticed[e.how] = append(noticed[e.how], m.lost.Sub(e.at))
		moved[e.how] = append(moved[e.how], m.took)
		if causes[e.how] == nil {
			causes[e.how] = map[string]int{}
		}
		causes[e.how][m.cause]++
	}
	for _, how := range []string{chaosKill, chaosTerm, chaosReset, chaosPause, chaosCut} {
		if len(noticed[how])+len(seen[how]) == 0 {
			continue
		}
		c.t.Logf("%-5s to the first answer of the new instance: %s; to the gateway's notice: %s; from there to the new instance: %s; by cause %v",
			how, spread(seen[how]), spread(noticed[how]), spread(moved[how]), causes[how])
	}
}

// event is what was done last to an instance before at.
func (c *chaos) event(id string, at time.Time) *chaosEvent {
	for i := len(c.events) - 1; i >= 0; i-- {
		if e := &c.events[i]; e.id == id && !at.Before(e.at) {
			return e
		}
	}
	return nil
}

// A chaosLogged is a move as a gateway logs it.
type chaosLogged struct {
	from, cause string
	lost        time.Time // noticed
	took        time.Duration
}

var chaosMoveLine = regexp.MustCompile(`^time=(\S+) .*msg="session has another instance" .*from=(\S+) .*cause=("[^"]*"|\S+) took=(\S+)`)

func (c *chaos) logged() (all []chaosLogged) {
	for _, g := range c.gateways {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(g.accessLog), "log"))
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			m := chaosMoveLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			at, err := time.Parse(time.RFC3339Nano, m[1])
			took, err2 := time.ParseDuration(m[4])
			if err != nil || err2 != nil {
				c.t.Fatalf("%s: %v, %v", line, err, err2)
			}
			all = append(all, chaosLogged{m[2], strings.Trim(m[3], `"`), at.Add(-took), took})
		}
	}
	return all
}

// spread says how long things took.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("median %v, p99 %v, most %v of %d", at(.5), at(.99), at(1), len(all))
}
