package eureka

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// remote is a server whose answers a test writes, and a client of it.
func remote(t *testing.T, o ClientOptions, answer http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := NewClient(s.URL+"/eureka", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestClientOnTheWire holds the requests to their golden form.
func TestClientOnTheWire(t *testing.T) {
	var got string
	c := remote(t, ClientOptions{User: "eureka", Password: "password", ID: "h:gateway:10010", Replica: true}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		got = fmt.Sprintf("%s %s %s:%s accept=%s type=%s id=%s name=%s replica=%s %s", r.Method, r.RequestURI, user, password, r.Header.Get("Accept"),
			r.Header.Get("Content-Type"), r.Header.Get("DiscoveryIdentity-Id"), r.Header.Get("DiscoveryIdentity-Name"),
			r.Header.Get("x-netflix-discovery-replication"), body)
		w.WriteHeader(http.StatusNoContent)
	})
	const head = " eureka:password accept=application/json type="
	const tail = " id=h:gateway:10010 name=DefaultClient replica=true "
	in := &Instance{ID: "h/1 :x", App: "A&B", HostName: "h", IPAddr: "10.0.0.1", Status: Up, Overridden: Unknown, LastDirty: 17, DataCenter: DataCenter{Name: dataCenterMyOwn}}
	for _, row := range []struct {
		call func() error
		want string
	}{
		{func() error { return c.Renew(t.Context(), in) }, "PUT /eureka/apps/A&B/h%2F1%20:x?lastDirtyTimestamp=17&status=UP" + head + tail},
		{func() error { return c.Cancel(t.Context(), in.App, in.ID) }, "DELETE /eureka/apps/A&B/h%2F1%20:x" + head + tail},
		{
			func() error { return c.Register(t.Context(), in) },
			"POST /eureka/apps/A&B" + head + "application/json" + tail + string(appendJSONInstance(nil, in)),
		},
	} {
		if err := row.call(); err != nil {
			t.Fatal(err)
		}
		if got != row.want {
			t.Errorf("sent %s\nwant %s", got, row.want)
		}
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

// TestClientBounds: whatever the server does, the call ends, and says why.
func TestClientBounds(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	rows := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"refused": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "go\naway", http.StatusForbidden) }, "answered 403: go away"},
		"page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(500)
		}, "answered 500"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:p@h/x?secret=1", http.StatusFound)
		}, `which is not followed, to "http://h/x"`},
		"text":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, "invalid character"},
		"empty": {func(http.ResponseWriter, *http.Request) {}, "unexpected EOF"},
		"array": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[]`) }, "want an object"},
		"cut":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"applications":{"application":[`) }, "EOF"},
		"wrong": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"applications":{"application":7}}`) }, "want an array or an object"},
		"more":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{} {}`) }, "text behind the document"},
		"html":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `<html></html>`) }, "root element is <html>"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<12)); err != nil {
					return
				}
			}
		}, "more than 100000 bytes"},
		"bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped(`{"x":"` + strings.Repeat("a", 1<<20) + `"}`))
		}, "more than 100000 bytes"},
		"silent": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}, "no answer within"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			o := ClientOptions{Limit: 100000}
			if name == "silent" {
				o.Timeout = 50 * time.Millisecond
			}
			a, err := remote(t, o, row.answer).Apps(t.Context())
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%+v, %v; want %q", a, err, row.want)
			}
		})
	}
}

// TestClientReads: JSON, gzip and XML alike; a malformed instance takes no other with it.
func TestClientReads(t *testing.T) {
	const instances = `{"instanceId":"1","app":"A","hostName":"h","status":"UP"},{"instanceId":"2","port":{"$":"x"},"status":"DOWN"}`
	for name, body := range map[string]string{
		"json": `{"applications":{"application":[{"instance":[` + instances + `],"name":"a"}],"apps__hashcode":"DOWN_1_UP_1_","versions__delta":3,"more":[{}]}}`,
		"one":  `{"application":{"name":"A","instance":[` + instances + `]}}`,
		"xml": `<applications><application><instance><instanceId>1</instanceId><hostName>h</hostName><status>UP</status></instance><instance><instanceId>2</instanceId>
			<port>x</port><status>DOWN</status></instance><name>a</name></application><apps__hashcode>DOWN_1_UP_1_</apps__hashcode></applications>`,
	} {
		c := remote(t, ClientOptions{}, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				t.Error("gzip is not asked for")
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(zipped(body))
		})
		a, err := c.Delta(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(a.Apps) != 1 || a.Apps[0].Name != "A" || len(a.Apps[0].Instances) != 2 || hashcode(a.Apps[0].Instances) != "DOWN_1_UP_1_" {
			t.Fatalf("%s: %+v", name, a)
		}
		good, bad := a.Apps[0].Instances[0], a.Apps[0].Instances[1]
		if good.problem != nil || good.ID != "1" || good.App != "A" || bad.problem == nil || bad.App != "A" {
			t.Errorf("%s: %+v, %+v", name, good, bad)
		}
	}
}

func TestClientAddresses(t *testing.T) {
	for _, bad := range []string{"", "h:1", "ftp://h/", "http:///eureka", "http://h/?a", "http://h/#a", "http://u:secret@h:x/"} {
		if _, err := NewClient(bad, ClientOptions{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	c, err := NewClient("https://me:secret@h:10011/eureka", ClientOptions{User: "other"})
	if err != nil || c.String() != "https://h:10011/eureka/" || c.o.User != "me" || c.o.Password != "secret" {
		t.Errorf("%v, %v", c, err)
	}
	_, err = c.Apps(canceled(t))
	if err == nil || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// FuzzApplications: what is read, written and read again is the same.
func FuzzApplications(f *testing.F) {
	f.Add([]byte(`{"applications":{"versions__delta":"1","apps__hashcode":"UP_1_","application":[{"name":"A","instance":` + nodeDocument[12:len(nodeDocument)-1] + `}]}}`))
	f.Add([]byte(`<applications><application><name>A</name>` + xmlDocument[39:] + `</application></applications>`))
	f.Add([]byte(`{"application":{"name":"A","instance":[null,{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readApplications(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, app := range a.Apps {
			for _, i := range app.Instances {
				if i.problem != nil || check(i) != nil {
					return
				}
			}
		}
		again, err := readApplications(bytes.NewReader(appendJSONApplications(nil, a, false)))
		if err != nil {
			t.Fatal(err)
		}
		if one, other := appendJSONApplications(nil, a, false), appendJSONApplications(nil, again, false); !bytes.Equal(one, other) {
			t.Errorf("%s\n became %s", one, other)
		}
	})
}
