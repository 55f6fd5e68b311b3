package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// TestZoweServices holds the list of services to its golden form.
func TestZoweServices(t *testing.T) {
	instances := []*eureka.Instance{
		{
			ID: "h:a:1", App: "A", HostName: "h", IPAddr: "10.0.0.1", Status: eureka.Up, SecurePort: eureka.Port{Number: 1, Enabled: true},
			URLs: eureka.URLs{HomePageURL: "https://h:1/a/", SecureHealthCheckURL: "https://h:1/health", StatusPageURL: "https://h:1/info"},
			Metadata: map[string]string{
				"apiml.apiInfo.1.apiId": "second", "apiml.apiInfo.0.apiId": "first", "apiml.apiInfo.0.gatewayUrl": "/api/v1/",
				"apiml.apiInfo.0.version": "1.0.0", "apiml.apiInfo.0.defaultApi": "true", "apiml.apiInfo.0.swaggerUrl": "https://h:1/doc",
				"apiml.apiInfo.0.codeSnippet.0.language": "go", "apiml.service.title": "A", "apiml.service.description": "the first",
				"apiml.routes.ui.gatewayUrl": "ui/v1", "apiml.routes.ui.serviceUrl": "/a", "apiml.authentication.scheme": "httpBasicPassTicket",
				"apiml.authentication.applid": "APPL", "zos.jobid": "J1", "other": "x",
			},
		},
		{ID: "h:b:2", App: "B", HostName: "h", Status: eureka.OutOfService, Port: eureka.Port{Number: 2, Enabled: true}, Metadata: map[string]string{"apiml.service.apimlId": "Bee"}},
	}
	h, password := startWith(t, false, upstream.NewPool(), route.Build(route.Set{}, nil), func(o *Options) {
		o.Instances = func() []*eureka.Instance { return instances }
	})
	const a = `{"serviceId":"a","status":"UP","apiml":{"apiInfo":[` +
		`{"apiId":"first","basePath":"/a/api/v1","baseUrl":"https://gw:10010/a/api/v1","gatewayUrl":"api/v1","swaggerUrl":"https://h:1/doc","version":"1.0.0","defaultApi":true},` +
		`{"apiId":"second","defaultApi":false}],"service":{"title":"A","description":"the first","homePageUrl":"https://gw:10010/a/ui/v1/"},` +
		`"authentication":[{"scheme":"httpBasicPassTicket","applid":"APPL","supportsSso":true}]},"instances":{"h:a:1":{"status":"UP","hostname":"h",` +
		`"ipAddr":"10.0.0.1","protocol":"https","port":1,"homePageUrl":"https://h:1/a/","healthCheckUrl":"https://h:1/health",` +
		`"statusPageUrl":"https://h:1/info","customMetadata":{"zos.jobid":"J1"}}}}`
	const b = `{"serviceId":"bee","status":"DOWN","apiml":{"apiInfo":[],"service":{},"authentication":[{"scheme":"bypass","supportsSso":false}]},` +
		`"instances":{"h:b:2":{"status":"OUT_OF_SERVICE","hostname":"h","ipAddr":"","protocol":"http","port":2,"customMetadata":{}}}}`
	for path, want := range map[string]string{
		"/gateway/services": "[" + a + "," + b + "]", "/gateway/api/v1/services?apiId=second": "[" + a + "]", "/gateway/services?apiId=x": "[]",
		"/gateway/services/a": a, "/gateway/api/v1/services/bee": b,
	} {
		w := get(h, "GET", "https://gw:10010"+path, loopback, password)
		if got := w.Body.String(); w.Code != 200 || got != want || w.Header().Get("Content-Version") != "1" {
			t.Errorf("%s: %d %s\nwant %s", path, w.Code, got, want)
		}
	}
}

// TestStaleClusterShows: health and the list of services tell that what is served is old; who may not see more does not.
func TestStaleClusterShows(t *testing.T) {
	status := eureka.ClusterStatus{Server: "http://secret.example.com/", Read: time.Now().Add(-100 * time.Hour), Err: "refused by secret", Instances: 1, Registers: true}
	pool := upstream.NewPool()
	pool.Service("a", []upstream.Spec{{ID: "1", Scheme: "http", Host: "a.test", Port: 1}})
	h, password := startWith(t, false, pool, route.Build(route.Set{}, nil), func(o *Options) {
		o.Registry = nil
		o.Cluster = func() eureka.ClusterStatus { return status }
		o.Instances = func() []*eureka.Instance {
			return []*eureka.Instance{{ID: "1", App: "A", Status: eureka.Up, External: true}}
		}
	})
	body := get(h, "GET", "http://gw/application/health", abroad, "").Body.String()
	if !strings.Contains(body, `"eureka":{"details":{"ageSeconds":360`) || !strings.Contains(body, `"registered":false},"status":"DOWN"}`) ||
		!strings.Contains(body, `"discovery":"DOWN"`) || strings.Contains(body, "secret") {
		t.Error(body)
	}
	if list := listServices(t, h, password); len(list) != 1 || list[0].Stale < 360000 {
		t.Errorf("%+v", list)
	}
	status.Err = ""
	if list := listServices(t, h, password); list[0].Stale != 0 {
		t.Errorf("%+v", list)
	}
}
