package proxy

import (
	"io"
	"strings"
	"testing"
)

// TestForwardTo: the field names the service, loses its first step, and reaches nothing but that service's routes.
func TestForwardTo(t *testing.T) {
	routes := map[string]string{"api/v1": "/base/api"}
	g := startGateway(t,
		service{id: "svc", routes: routes, endpoints: []string{httpService(t, echoHandler)}},
		service{id: "two", routes: routes, endpoints: []string{httpService(t, echoHandler)}},
	)
	for _, row := range []struct{ target, header, want, passed string }{
		{"/api/v1/x?q", "X-Forward-To: svc", "/base/api/x?q", ""},
		{"/svc/api/v1/x", "x-forward-to: /SVC/", "/base/api/x", ""},
		{"/api/v1/x", "X-Forward-To: svc/next/more", "/base/api/x", "next/more"},
		{"/two/api/v1/x", "X-Forward-To: svc", "", ""},
		{"/api/v1/x", "X-Forward-To: none", "", ""},
		{"/application/shutdown", "X-Forward-To: svc", "", ""},
		{"/x", "X-Forward-To: svc/api/v1", "", ""},
		{"/api/v1/x", "X-Forward-To: ..", "", ""},
		{"/svc/api/v1/x", "X-Forward-To: ", "", ""},
		{"/svc/api/v1/x", "X-Forward-To: svc\r\nX-Forward-To: two", "", ""},
		{"/svc/api/v1/x", "X-Other: svc", "/base/api/x", ""},
	} {
		_, br, head := talk(t, g, "GET "+row.target+" HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"+row.header+"\r\n\r\n")
		answer, _ := io.ReadAll(br)
		body := string(answer)
		if row.want == "" {
			if strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("%s %s: %s%s", row.target, row.header, head, body)
			}
			continue
		}
		if !strings.Contains(body, "GET "+row.want+"\n") || strings.Contains(body, "X-Forward-To: ") != (row.passed != "") ||
			!strings.Contains(body, row.passed) {
			t.Errorf("%s %s: %s%s", row.target, row.header, head, body)
		}
	}
}
