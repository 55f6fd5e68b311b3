package interop

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An attack is what a hostile client sends on one connection. In send and sees, ~ stands for the path of the case.
type attack struct {
	name, send string
	// The statuses that the client may get, in their order: "400", or one of several, "400|200 200". After a last status
	// that refuses the bytes the connection must end. "cut": it ends without an answer.
	want string
	sees []string // what the service then gets: one "METHOD target body" for each 200 and 101
}

// smuggled is a request that no service may ever see: it always stands where no request begins.
const (
	gwHost   = "Host: gw.test\r\n"
	smuggled = "GET ~/smuggled HTTP/1.1\r\n" + gwHost + "\r\n"
)

// refused are the statuses after which a connection is of no use: where the next request begins is not known.
var refused = []string{"400", "405", "413", "414", "426", "431", "501", "505", "cut"}

// An attacker is the gateway, a recording service behind it, and the log that the gateway keeps.
type attacker struct {
	*gateway
	service *recorder
	trust   *tls.Config
	cases   int
}

func newAttacker(t *testing.T, answer func(heard) string) *attacker {
	t.Helper()
	a := &attacker{gateway: startGateway(t, newPKI(t)), service: recordingService(t, answer)}
	a.trust = a.trusted(t)
	a.trust.ServerName = "localhost"
	a.register(t, "raw", a.service.address, nil)
	return a
}

// TestHTTPAttacks holds the gateway to one law: the service never gets more requests than the gateway has logged, and
// never one that says something else than what the client was answered for. However the bytes are cut.
func TestHTTPAttacks(t *testing.T) {
	a := newAttacker(t, nil)
	ways := []struct {
		name string
		tls  bool
		step int // bytes of one write; 0: all
	}{{"whole", false, 0}, {"byte by byte", false, 1}, {"TLS", true, 0}}
	for _, tc := range slices.Concat(attacksOnHeads(), attacksOnFraming(), attacksOnConnections()) {
		t.Run(tc.name, func(t *testing.T) {
			for _, way := range ways {
				if way.step > 0 && len(tc.send) > 4096 {
					continue
				}
				if why := a.try(tc, way.tls, way.step); why != "" {
					t.Errorf("%s: %s", way.name, why)
				}
			}
		})
	}
	if list, broken := a.service.requests("smuggled"); len(list)+len(broken) > 0 {
		t.Errorf("the service got %v; %q", list, broken)
	}
}

// try sends tc and says what is wrong with what comes of it, or "".
func (a *attacker) try(tc attack, secure bool, step int) string {
	a.cases++
	id := "case" + strconv.Itoa(a.cases) + "x"
	at := func(s string) string { return strings.ReplaceAll(s, "~", "/raw/api/v1/"+id) }
	conn, err := a.connect(secure)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		writeCut(conn, at(tc.send), step)
	}()
	statuses, err := readStatuses(conn, at(tc.send), strings.Split(tc.want, "|"), at("GET ~/end HTTP/1.1\r\n"+gwHost+"Connection: close\r\n\r\n"))
	conn.Close()
	<-sent
	got := strings.Join(statuses, " ")
	if err != nil {
		return fmt.Sprintf("answered %q, then %v", got, err)
	}
	if !slices.Contains(strings.Split(tc.want, "|"), got) {
		return fmt.Sprintf("answered %q, want %q", got, tc.want)
	}
	return a.judge(tc, id, strings.Count(got, "200")+strings.Count(got, "101"))
}

// judge looks at what reached the service.
func (a *attacker) judge(tc attack, id string, accepted int) string {
	list, broken := a.service.requests(id)
	if len(broken) > 0 {
		a.service.mu.Lock()
		a.service.broken = nil // said once
		a.service.mu.Unlock()
		return fmt.Sprintf("no gateway may send %q", broken)
	}
	var got, want []string
	for _, h := range list {
		if h.whole && !strings.HasSuffix(h.target, "/end") {
			got = append(got, h.String())
		}
	}
	for _, s := range tc.sees[:min(accepted, len(tc.sees))] {
		want = append(want, strings.ReplaceAll(s, "~", "/api/"+id))
	}
	if !slices.Equal(got, want) {
		return fmt.Sprintf("the service got %q, want %q", got, want)
	}
	logged := func() error {
		content, err := os.ReadFile(a.accessLog)
		if n := strings.Count(string(content), id); n < len(list) { // a line names it at least once
			err = errors.Join(err, fmt.Errorf("the service got %d requests, %d are logged", len(list), n))
		}
		return err
	}
	if err := poll(wait, nil, logged); err != nil {
		return err.Error()
	}
	return ""
}

func (a *attacker) connect(secure bool) (net.Conn, error) {
	d := &net.Dialer{Timeout: wait}
	conn, err := d.Dial("tcp", a.plain)
	if secure {
		conf := a.trust.Clone()
		conf.NextProtos = []string{"http/1.1"}
		conn, err = tls.DialWithDialer(d, "tcp", a.https, conf)
	}
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(wait))
}

// writeCut writes s in pieces of step bytes. The gateway may have gone: then the rest is nobody's.
func writeCut(w io.Writer, s string, step int) {
	if step == 0 {
		step = len(s)
	}
	for piece := range slices.Chunk([]byte(s), step) {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// readStatuses reads the answers to what was sent until they are one of those wanted, and then the end of the connection.
// If that may go on, end is sent first: it is the one request that may be answered besides.
func readStatuses(conn net.Conn, sent string, want []string, end string) (statuses []string, err error) {
	in := bufio.NewReader(conn)
	method, _, _ := strings.Cut(sent, " ")
	for {
		got := strings.Join(statuses, " ")
		if !slices.ContainsFunc(want, func(w string) bool { return got == "" || strings.HasPrefix(w, got+" ") }) {
			break // nothing more is wanted
		}
		status, err := readStatus(in, method)
		switch {
		case err == nil:
			statuses = append(statuses, status)
			method = ""
		case errors.Is(err, os.ErrDeadlineExceeded):
			return statuses, err
		case got == "":
			return []string{"cut"}, nil
		default:
			return statuses, nil
		}
	}
	if !slices.Contains(want, strings.Join(statuses, " ")) {
		return statuses, nil
	}
	over := slices.Contains(refused, statuses[len(statuses)-1])
	if !over {
		_, _ = io.WriteString(conn, end) // an answer may have been the last one of the connection
	}
	for extra := 0; ; extra++ {
		status, err := readStatus(in, "")
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return statuses, errors.New("the connection stays open")
		case err != nil:
			return statuses, nil
		case over || extra > 0:
			return append(statuses, status), errors.New("that is an answer too many")
		}
	}
}

// readStatus reads one answer, and interim ones before it.
func readStatus(in *bufio.Reader, method string) (string, error) {
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return "", err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return "", err
			}
		}
		return strconv.Itoa(resp.StatusCode), nil
	}
}
