// Package admin serves /application/**: health, version, the live list of sessions and what
// else an operator asks of a running gateway. It reads its owners' state; it keeps none.
package admin

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Options are what the endpoints read. All are required but Instances, Registry, Cluster, Kubernetes and Objects.
type Options struct {
	Sessions   *proxy.Sessions
	Moves      Moves
	Revoke     func(*proxy.Revocation) (proxy.Revoked, error)
	Table      func() *route.Table
	Pool       *upstream.Pool
	Users      func() *auth.Users          // who may use the protected endpoints; a reload may change it
	Stopping   func() bool                 // true once the gateway shuts down: health turns 503
	Instances  func() []*eureka.Instance   // of all registries; nil: there is none
	Registry   *eureka.Registry            // of them, the gateway's own; nil: it has none
	Cluster    func() eureka.ClusterStatus // the Eureka cluster that is read; nil: there is none
	Kubernetes func() KubernetesState      // how the cluster fares that the objects come from; nil: there is none
	Objects    func() any                  // the statuses of the Gateway API objects, as JSON is made of them; nil: there are none
	Metrics    http.Handler                // in Prometheus' format
	Version    Version
	Log        *slog.Logger
}

// Version says which build runs.
type Version struct {
	Version string `json:"version"`
	Build   string `json:"buildNumber"`
	Commit  string `json:"commitHash"`
}

type server struct{ Options }

// New returns the handler of /application/**.
func New(o Options) http.Handler {
	s := &server{o}
	mux := http.NewServeMux()
	for _, e := range []struct {
		path, methods string // in the order of an Allow header
		open          bool   // for everyone
		handlers      []http.HandlerFunc
	}{
		{"/application", "GET", false, []http.HandlerFunc{http.RedirectHandler("/application/", http.StatusFound).ServeHTTP}},
		{"/application/{$}", "GET", false, []http.HandlerFunc{page("page.html")}},
		{"/application/dashboard.js", "GET", false, []http.HandlerFunc{page("dashboard.js")}},
		{"/application/dashboard.css", "GET", false, []http.HandlerFunc{page("dashboard.css")}},
		{"/application/health", "GET", true, []http.HandlerFunc{s.health}},
		{"/application/info", "GET", true, []http.HandlerFunc{s.info}},
		{"/application/version", "GET", true, []http.HandlerFunc{s.version}},
		{"/gateway/version", "GET", true, []http.HandlerFunc{s.version}}, // Zowe's other names for it
		{"/gateway/api/v1/version", "GET", true, []http.HandlerFunc{s.version}},
		{"/gateway/services", "GET", false, []http.HandlerFunc{s.zoweServices}},
		{"/gateway/services/{id}", "GET", false, []http.HandlerFunc{s.zoweService}},
		{"/gateway/api/v1/services", "GET", false, []http.HandlerFunc{s.zoweServices}},
		{"/gateway/api/v1/services/{id}", "GET", false, []http.HandlerFunc{s.zoweService}},
		{"/application/websockets", "GET", false, []http.HandlerFunc{s.listSessions}},
		{"/application/websockets/{id}", "GET, DELETE", false, []http.HandlerFunc{s.getSession, s.closeSession}},
		{"/application/routes", "GET", false, []http.HandlerFunc{s.routes}},
		{"/application/services", "GET", false, []http.HandlerFunc{s.services}},
		{"/application/registry", "GET", false, []http.HandlerFunc{s.registries}},
		{"/application/websockets/{id}/frames", "GET", false, []http.HandlerFunc{s.frames}},
		{"/application/websockets/{id}/move", "POST", false, []http.HandlerFunc{s.moveSession}},
		{"/application/services/{id}/rebalance", "POST", false, []http.HandlerFunc{s.rebalance}},
		{"/application/services/{id}/drain", "POST, DELETE", false, []http.HandlerFunc{s.drain, s.undrain}},
		{"/application/revoke", "POST", false, []http.HandlerFunc{s.revoke}},
		{"/application/metrics", "GET", false, []http.HandlerFunc{s.Metrics.ServeHTTP}},
		{"/application/objects", "GET", false, []http.HandlerFunc{s.objects}},
	} {
		guard := s.protected
		if e.open {
			guard = func(h http.HandlerFunc) http.Handler { return h }
		}
		for i, method := range strings.Split(e.methods, ", ") {
			mux.Handle(method+" "+e.path, guard(e.handlers[i]))
		}
		mux.Handle(e.path, guard(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", e.methods)
			writeError(w, http.StatusMethodNotAllowed, "ZWEAO405E", "org.zowe.apiml.common.methodNotAllowed",
				"The request method has been disabled and cannot be used for the requested resource.")
		}))
	}
	mux.Handle("/", s.protected(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "ZWEAM104E", "org.zowe.apiml.common.endPointNotFound",
			"The endpoint you are looking for '"+r.URL.EscapedPath()+"' could not be located")
	}))
	return mux
}

// protected lets in who has credentials of admin.users, over TLS or from loopback: a
// password does not travel in clear text, and is not asked for where it would.
func (s *server) protected(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.TLS == nil && !fromLoopback(r) {
			writeError(w, http.StatusForbidden, "ZWEAT403E", "org.zowe.apiml.security.forbidden",
				"Protected endpoints are served over TLS, or to clients on loopback")
			return
		}
		if _, err := s.Users().Authenticate(r); err != nil {
			s.denied(w, r, err)
			return
		}
		h(w, r)
	})
}

func (s *server) denied(w http.ResponseWriter, r *http.Request, err error) {
	var e *auth.Error
	if !errors.As(err, &e) {
		e = &auth.Error{Status: http.StatusServiceUnavailable, Reason: err.Error()}
	}
	s.Log.Info("admin request refused", "client", r.RemoteAddr, "path", r.URL.EscapedPath(), "reason", e.Reason)
	switch e.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", e.Challenge)
		writeError(w, e.Status, "ZWEAO402E", "org.zowe.apiml.common.unauthorized",
			"The request has not been applied because it lacks valid authentication credentials.")
	default:
		writeError(w, e.Status, "ZWEAO503E", "org.zowe.apiml.common.serviceUnavailable",
			"The server is not ready to handle the request: authentication is not available")
	}
}

func fromLoopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// health has the shape that Zowe's start-up checker reads (zowe.md, section 5.8).
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	type object = map[string]any
	status, code := "UP", http.StatusOK
	if s.Stopping() {
		status, code = "OUT_OF_SERVICE", http.StatusServiceUnavailable
	}
	composite := object{}
	if s.Kubernetes != nil {
		cluster := s.Kubernetes()
		composite["kubernetes"] = cluster.view()
		if !cluster.Ready { // nothing of it is served yet: clients are better off elsewhere
			status, code = "OUT_OF_SERVICE", http.StatusServiceUnavailable
		}
	}
	services, gateways, discovery := []string{"gateway"}, 1, "DOWN"
	catalog := "DOWN"
	if s.Instances != nil {
		discovery = "UP"
		for _, in := range s.Instances() {
			id := in.ServiceID()
			if !slices.Contains(services, id) {
				services = append(services, id)
			}
			if in.Status != eureka.Up {
				continue
			}
			switch id {
			case "gateway":
				gateways++
			case "apicatalog":
				catalog = "UP"
			}
		}
	}
	if s.Cluster != nil {
		cluster := s.Cluster()
		if cluster.Stale() && s.Registry == nil {
			discovery = "DOWN"
		}
		composite["eureka"] = viewCluster(cluster)
	}
	composite["discoveryClient"] = object{"status": discovery, "details": object{"services": services}}
	authState := "DOWN"
	if s.Users() != nil {
		authState = "UP"
	}
	writeJSON(w, code, actuatorType, object{
		"status": status,
		"components": object{
			"gateway": object{"status": status, "details": object{
				"discovery": discovery, "auth": authState, "gatewayCount": gateways, "apicatalog": catalog,
			}},
			"discoveryComposite": object{"status": discovery, "components": composite},
		},
	})
}

// viewCluster is what everyone may know of the Eureka cluster that is read: whether it answers, and how old is what is served.
func viewCluster(c eureka.ClusterStatus) map[string]any {
	status, details := "UP", map[string]any{"instances": c.Instances}
	if c.Stale() || c.Read.IsZero() {
		status = "DOWN"
	}
	if !c.Read.IsZero() {
		details["ageSeconds"] = int(time.Since(c.Read).Seconds())
	}
	if c.Registers {
		details["registered"] = c.Registered
	}
	return map[string]any{"status": status, "details": details}
}

func (s *server) info(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, actuatorType, map[string]any{
		"build": map[string]string{"name": "fairlead", "version": s.Version.Version, "commit": s.Version.Commit},
	})
}

// version keeps Zowe's two members; both name this build.
func (s *server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, "application/json", map[string]Version{"zowe": s.Version, "apiml": s.Version})
}

// actuatorType is what Spring Boot's actuator answers with where the client does not ask
// for another of its types.
const actuatorType = "application/vnd.spring-boot.actuator.v3+json"

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"messages":[]}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone if this fails
}

// writeError answers in Zowe's error document (zowe.md, section 5.9).
func writeError(w http.ResponseWriter, status int, number, key, content string) {
	proxy.ErrorMessage(number, key, "%s", content).WriteJSON(w, status)
}
