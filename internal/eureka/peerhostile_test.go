package eureka

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// hostile is a registry with a peer whose answers are made by a test; they may be read while they are asked for.
func hostile(t *testing.T, o ClientOptions, h http.HandlerFunc) (*server, func() PeerStatus) {
	t.Helper()
	bad := httptest.NewServer(h)
	t.Cleanup(bad.Close)
	s := newServer(t, Config{MaxInstances: 100})
	s.runPeersAt(o, bad.URL+"/eureka/")
	return s, func() PeerStatus { return s.Peers()[0] }
}

// runPeersAt is runPeers with any addresses.
func (s *server) runPeersAt(o ClientOptions, urls ...string) {
	s.t.Helper()
	if err := s.ReplicateWith(urls, o); err != nil {
		s.t.Fatal(err)
	}
	for _, p := range s.peers {
		p.linger, p.retry, p.retryLast = time.Millisecond, time.Millisecond, 5*time.Millisecond
	}
	s.runUntilEnd()
}

const noApps = `{"applications":{"application":[]}}`

// TestHostilePeers: whatever a peer answers, the registry goes on, holds what it held, and says what is wrong.
func TestHostilePeers(t *testing.T) {
	endless := func(w http.ResponseWriter, text string) {
		block := []byte(strings.Repeat(text, 1000))
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	for name, row := range map[string]struct {
		apps, batch func(w http.ResponseWriter)
		want        string
	}{
		"a page":         {apps: func(w http.ResponseWriter) { fmt.Fprint(w, "<html>hello</html>") }, want: "root element is <html>"},
		"garbage":        {apps: func(w http.ResponseWriter) { fmt.Fprint(w, "\x00\xff{") }, want: "invalid character"},
		"nothing there":  {apps: func(w http.ResponseWriter) { w.WriteHeader(404) }, want: "is its path right?"},
		"endless":        {apps: func(w http.ResponseWriter) { endless(w, " ") }, want: "more than 1048576 bytes"},
		"endless names":  {apps: func(w http.ResponseWriter) { endless(w, `{"a":`) }, want: "exceeded max depth"},
		"empty services": {apps: func(w http.ResponseWriter) { fmt.Fprint(w, `{"applications":{"application":[`); endless(w, "{},") }, want: "more than"},
		"empty elements": {apps: func(w http.ResponseWriter) { fmt.Fprint(w, `<applications>`); endless(w, "<b/>") }, want: "too many elements"},
		"endless members": {apps: func(w http.ResponseWriter) {
			fmt.Fprint(w, `{"applications":{"application":[{"instance":[{"x":1`)
			for n := range 5000 {
				fmt.Fprintf(w, `,"x%d":1`, n)
			}
		}, want: "an instance of more than"},
		"slow":             {apps: func(w http.ResponseWriter) { fmt.Fprint(w, " "); w.(http.Flusher).Flush(); time.Sleep(time.Second) }, want: "no answer within"},
		"batch refused":    {batch: func(w http.ResponseWriter) { w.WriteHeader(403) }, want: "answered 403"},
		"batch garbage":    {batch: func(w http.ResponseWriter) { fmt.Fprint(w, "[") }, want: "want an object"},
		"no answers":       {batch: func(w http.ResponseWriter) { fmt.Fprint(w, "{}") }, want: "answered 0 of 1 changes"},
		"too many answers": {batch: func(w http.ResponseWriter) { fmt.Fprint(w, `{"responseList":[`); endless(w, "{},") }, want: "more answers than changes"},
		"long answer":      {batch: func(w http.ResponseWriter) { fmt.Fprint(w, `{"x":"`); endless(w, "xxxxxxxx") }, want: "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			o := ClientOptions{Limit: 1 << 20}
			if name == "slow" {
				o.Timeout = 100 * time.Millisecond
			}
			s, status := hostile(t, o, func(w http.ResponseWriter, r *http.Request) {
				batch := strings.Contains(r.URL.Path, "batch")
				switch {
				case batch && row.batch != nil:
					row.batch(w)
				case !batch && row.apps != nil:
					row.apps(w)
				case !batch:
					fmt.Fprint(w, noApps)
				}
			})
			s.register("ONE", "1", "")
			eventually(t, func() string { return status().Err + ", want " + row.want }, func() bool { return strings.Contains(status().Err, row.want) })
			if st := status(); st.Failing.IsZero() || s.one(leaseKey{"ONE", "1"}) == nil {
				t.Errorf("%+v\n%s", st, s.picture())
			}
		})
	}
}

// TestLongParts: no part of a document is kept that is too long, however little it was when compressed.
func TestLongParts(t *testing.T) {
	const most = 10_000
	for _, row := range []struct{ begin, part, want string }{
		{`<applications><b`, ` a=""`, "a tag or a text of more than"},
		{`<applications><b>`, `<![CDATA[` + strings.Repeat("x", 1000) + `]]>`, "a text of more than"},
		{`{"x":"`, "xxxxxxxx", "a value of more than"},
		{`{`, "        ", "a value of more than"},
	} {
		doc := row.begin + strings.Repeat(row.part, 2*(most+readAhead)/len(row.part))
		var err error
		if doc[0] == '<' {
			_, err = parseXML(strings.NewReader(doc), most, nil)
		} else {
			err = members(newValueReader(strings.NewReader(doc), most), false, func(string) error { return nil })
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s%.20s…: %v, want %s", row.begin, row.part, err, row.want)
		}
	}
}

// TestPeerWithTooMuch: what does not fit or breaks the rules is left out, the rest is taken.
func TestPeerWithTooMuch(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprint(&b, `{"applications":{"application":[{"name":"SVC","instance":[`)
	for _, bad := range []string{`"hostName":"169.254.169.254"`, `"hostName":"h","lastDirtyTimestamp":9223372036854775807`, `"hostName":"h","metadata":{"k":"` + strings.Repeat("x", 70<<10) + `"}`} {
		fmt.Fprintf(&b, `{"instanceId":"bad","app":"BAD","ipAddr":"1","status":"UP",%s},`, bad)
	}
	for n := range 500 {
		fmt.Fprintf(&b, `{"instanceId":"i%d","app":"SVC","hostName":"h","ipAddr":"1","status":"UP","lastDirtyTimestamp":1},`, n)
	}
	fmt.Fprint(&b, `{}]}]}}`)
	s, status := hostile(t, ClientOptions{}, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "batch") {
			_, _ = w.Write(b.Bytes())
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	eventually(t, func() string { return fmt.Sprintf("%+v", status()) }, func() bool { return status().Compared > 0 })
	if n := s.Stats().Instances; n != 100 {
		t.Errorf("%d instances, want 100: the bound", n)
	}
	for _, i := range s.Instances() {
		if i.App != "SVC" {
			t.Errorf("%+v", i)
		}
	}
}

// TestPeerIsSelf: a registry that finds itself among its peers tells itself nothing, and needs nobody to end its leases.
func TestPeerIsSelf(t *testing.T) {
	s := newServer(t, Config{})
	s.register("ONE", "1", "")
	s.runPeersAt(ClientOptions{}, "http://"+s.addr+"/eureka/")
	eventually(t, s.picture, func() bool { return s.Peers()[0].Self })
	s.register("TWO", "2", "")
	s.want(200, "DELETE", "/eureka/apps/ONE/1", "")
	if st := s.Peers()[0]; st.Pending != 0 || st.Sent != 0 || st.Err != "" || st.Compared != 0 {
		t.Errorf("%+v", st)
	}
	if got := s.picture(); !strings.HasPrefix(got, "TWO 2 UP") {
		t.Error(got)
	}
}

// TestPeersWithSelfAmongThem: the same list of peers at every registry, each on it itself.
func TestPeersWithSelfAmongThem(t *testing.T) {
	var all []*server
	var urls []string
	for range 3 {
		s := newServer(t, Config{})
		all, urls = append(all, s), append(urls, "http://"+s.addr+"/eureka/")
	}
	for n, s := range all {
		s.register("SVC", fmt.Sprint(n), "")
		s.runPeersAt(ClientOptions{}, urls...)
	}
	settled(t, "SVC/0=UP SVC/1=UP SVC/2=UP", all...)
	all[0].want(200, "DELETE", "/eureka/apps/SVC/1", "")
	all[1].want(200, "PUT", "/eureka/apps/SVC/2/status?value=DOWN", "")
	settled(t, "SVC/0=UP SVC/2=DOWN", all...)
}

// TestPeerStartsLater: a registry starts while its peer is down; names that lead nowhere do no harm to the others.
func TestPeerStartsLater(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	a, c := newServer(t, Config{}), newServer(t, Config{})
	a.register("ONE", "1", "")
	a.runPeersAt(ClientOptions{}, "http://"+addr+"/eureka/", "http://"+c.addr+"/wrong/", "https://"+c.addr+"/eureka/", "http://"+c.addr+"/eureka/")
	settled(t, "ONE/1=UP", a, c)
	eventually(t, func() string { return fmt.Sprintf("%+v", a.Peers()) }, func() bool {
		all := a.Peers()
		return strings.Contains(all[0].Err, "refused") && strings.Contains(all[1].Err, "path right?") && all[2].Err != "" && all[3].Err == ""
	})

	b := NewRegistry(Config{}, quiet())
	late, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip("somebody has taken the port:", err)
	}
	bad := httptest.NewUnstartedServer(b.Handler())
	_ = bad.Listener.Close()
	bad.Listener = late
	bad.Start()
	defer bad.Close()
	eventually(t, a.picture, func() bool { return b.one(leaseKey{"ONE", "1"}) != nil })
	if s := a.Peers()[0]; s.Err != "" || !s.Failing.IsZero() {
		eventually(t, func() string { return s.Err }, func() bool { s = a.Peers()[0]; return s.Err == "" && s.Failing.IsZero() })
	}
}

// TestIndigestibleChange: a change that a peer does not even read keeps no other from it.
func TestIndigestibleChange(t *testing.T) {
	b := newServer(t, Config{})
	a, status := hostile(t, ClientOptions{}, func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if bytes.Contains(body.Bytes(), []byte("POISON")) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = http.NoBody
		r2 := r.Clone(r.Context())
		r2.Body = readCloser{&body}
		b.Handler().ServeHTTP(w, r2)
	})
	var want []string
	for n := range 20 {
		name := fmt.Sprintf("S%02d", n)
		if n == 7 {
			name = "POISON"
		} else {
			want = append(want, name+"/1=UP")
		}
		a.register(name, "1", "")
	}
	settled(t, strings.Join(want, " "), b)
	eventually(t, func() string { return fmt.Sprintf("%+v", status()) }, func() bool { return status().Refused > 0 })
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }
