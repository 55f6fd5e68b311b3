package eureka

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// call is one request to the registry.
type call struct {
	r    *Registry
	w    http.ResponseWriter
	req  *http.Request
	by   caller
	json bool // the answer's format; XML is the default
}

// Handler serves /eureka/** and /eureka/v2/**, and a line of text at / for people.
func (r *Registry) Handler() http.Handler { return http.HandlerFunc(r.serve) }

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	c := &call{r: r, w: w, req: req, json: strings.Contains(strings.ToLower(req.Header.Get("Accept")), "json")}
	path, err := segments(req.URL.EscapedPath())
	if err != nil {
		c.refuse(refuse("path: %v", err))
		return
	}
	name, err := r.identify(req)
	if err != nil {
		r.denied(c, err)
		return
	}
	c.by = caller{name: name, replica: strings.EqualFold(req.Header.Get("X-Netflix-Discovery-Replication"), "true")}
	if c.by.replica {
		w.Header().Set(registryHeader, r.id)
	}
	if err := r.crossSite(req); err != nil {
		r.denied(c, err)
		return
	}
	switch {
	case len(path) == 0:
		c.only(c.overview, http.MethodGet)
		return
	case path[0] != "eureka":
		c.fail(http.StatusNotFound, "")
		return
	}
	path = path[1:]
	if len(path) > 0 && isVersion(path[0]) {
		path = path[1:]
	}
	c.route(path)
}

// route finds what a path below /eureka stands for.
func (c *call) route(path []string) {
	switch {
	case len(path) == 0:
		c.only(c.overview, http.MethodGet)
	case path[0] == "apps" && len(path) == 1:
		c.only(func() { c.read(allApps, "") }, http.MethodGet)
	case path[0] == "apps" && len(path) == 2 && path[1] == "delta" && c.req.Method != http.MethodPost:
		c.only(func() { c.read(delta, "") }, http.MethodGet)
	case path[0] == "apps" && len(path) == 2:
		c.app(strings.ToUpper(path[1]))
	case path[0] == "apps" && len(path) == 3:
		c.instance(leaseKey{strings.ToUpper(path[1]), path[2]})
	case path[0] == "apps" && len(path) == 4 && path[3] == "status":
		c.status(leaseKey{strings.ToUpper(path[1]), path[2]})
	case path[0] == "apps" && len(path) == 4 && path[3] == "metadata":
		c.only(func() { c.metadata(leaseKey{strings.ToUpper(path[1]), path[2]}) }, http.MethodPut)
	case path[0] == "instances" && len(path) == 2:
		c.only(func() { c.one(c.r.byID(path[1])) }, http.MethodGet)
	case path[0] == "vips" && len(path) == 2:
		c.only(func() { c.read(vip, strings.ToLower(path[1])) }, http.MethodGet)
	case path[0] == "svips" && len(path) == 2:
		c.only(func() { c.read(svip, strings.ToLower(path[1])) }, http.MethodGet)
	case path[0] == "status" && len(path) == 1:
		c.only(c.serverStatus, http.MethodGet)
	case path[0] == "serverinfo" && len(path) == 2 && path[1] == "statusoverrides":
		c.only(c.overrides, http.MethodGet)
	case path[0] == "peerreplication" && len(path) == 2 && path[1] == "batch":
		c.only(c.batch, http.MethodPost)
	default:
		c.fail(http.StatusNotFound, "")
	}
}

// segments splits a raw path and decodes each part; empty parts, as in "//apps/", do not count.
func segments(raw string) ([]string, error) {
	var out []string
	for s := range strings.SplitSeq(raw, "/") {
		if s == "" {
			continue
		}
		s, err := url.PathUnescape(s)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// isVersion says whether a segment is the API's version, which Eureka ignores: "v2".
func isVersion(s string) bool {
	return len(s) >= 2 && s[0] == 'v' && strings.Trim(s[1:], "0123456789") == ""
}

// only carries do out for one method. HEAD goes with GET.
func (c *call) only(do func(), method string) {
	if c.req.Method == method || c.req.Method == http.MethodHead && method == http.MethodGet {
		do()
		return
	}
	c.methods(method)
}

// methods answers a method that a resource does not have.
func (c *call) methods(allowed ...string) {
	for _, m := range allowed {
		if m == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
			break
		}
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	c.fail(http.StatusMethodNotAllowed, "")
}

func (c *call) app(app string) {
	switch c.req.Method {
	case http.MethodPost:
		c.register(app)
	case http.MethodGet, http.MethodHead:
		c.read(oneApp, app)
	default:
		c.methods(http.MethodGet, http.MethodPost)
	}
}

func (c *call) instance(key leaseKey) {
	switch c.req.Method {
	case http.MethodGet, http.MethodHead:
		c.one(c.r.one(key))
	case http.MethodPut:
		c.heartbeat(key)
	case http.MethodDelete:
		c.done(c.r.cancel(key, c.by))
	default:
		c.methods(http.MethodGet, http.MethodPut, http.MethodDelete)
	}
}

func (c *call) status(key leaseKey) {
	query := c.req.URL.Query()
	dirty, err := parseNumber(query.Get("lastDirtyTimestamp"))
	if err != nil {
		c.refuse(refuse("lastDirtyTimestamp is not a number"))
		return
	}
	switch c.req.Method {
	case http.MethodPut:
		if query.Get("value") == "" {
			c.refuse(refuse("value is missing"))
			return
		}
		c.done(c.r.override(key, ParseStatus(query.Get("value")), min(dirty, maxDirty), c.by))
	case http.MethodDelete:
		c.done(c.r.restore(key, ParseStatus(query.Get("value")), min(dirty, maxDirty), c.by))
	default:
		c.methods(http.MethodPut, http.MethodDelete)
	}
}

func (c *call) heartbeat(key leaseKey) {
	dirty, err := parseNumber(c.req.URL.Query().Get("lastDirtyTimestamp"))
	if err != nil {
		c.refuse(refuse("lastDirtyTimestamp is not a number"))
		return
	}
	newer, err := c.r.renew(key, dirty, c.by)
	if newer != nil {
		c.document(http.StatusConflict, newer)
		return
	}
	c.r.log.Debug("instance heartbeat", "service", strings.ToLower(key.app), "instance", key.id, "known", err == nil)
	if err != nil {
		c.refuse(err)
		return
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
}

func (c *call) metadata(key leaseKey) {
	query, err := url.ParseQuery(c.req.URL.RawQuery)
	if err != nil {
		c.refuse(refuse("query: %v", err))
		return
	}
	add := make(map[string]string, len(query))
	for k, v := range query {
		add[k] = v[0]
	}
	if err := checkExternal(add, c.r.cfg.AllowedHosts, near(c.req)); err != nil {
		c.refuse(err)
		return
	}
	c.done(c.r.annotate(key, add, c.by))
}

// done answers a change: 200 once the routes have followed it.
func (c *call) done(err error) {
	if err != nil {
		c.refuse(err)
		return
	}
	c.r.programmed(c.req.Context())
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
}

// programmed waits, bounded, until the route table carries what was changed.
func (r *Registry) programmed(ctx context.Context) {
	if r.Programmed == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, programWait)
	defer cancel()
	r.Programmed(ctx, r.Generation())
}

// refuse answers an error. Not to know an instance is everyday life, and not logged as a refusal.
func (c *call) refuse(err error) {
	e, ok := errors.AsType[*refusal](err)
	if !ok {
		e = refuse("%v", err)
	}
	switch e.status {
	case http.StatusNotFound:
	case http.StatusForbidden:
		c.r.unauthorized.Add(1)
		c.r.warned(c.req, e.status, e.reason)
	default:
		c.r.refused.Add(1)
		c.r.warned(c.req, e.status, e.reason)
	}
	if e.plain {
		c.w.Header().Set("Content-Type", textType)
		c.body(e.status, []byte(strings.Map(carried, strings.ToValidUTF8(e.reason, "\ufffd"))))
		return
	}
	c.fail(e.status, e.reason)
}

// fail answers a status, and the reason if there is one.
func (c *call) fail(status int, reason string) {
	var b []byte
	switch {
	case reason == "":
	case c.json:
		c.w.Header().Set("Content-Type", jsonType)
		b = append(appendJSONString([]byte(`{"error":`), reason), '}')
	default:
		c.w.Header().Set("Content-Type", xmlType)
		b = append(b, `<error><message>`...)
		b = appendXMLString(b, strings.Map(carried, strings.ToValidUTF8(reason, "\ufffd")))
		b = append(b, `</message></error>`...)
	}
	c.body(status, b)
}

// carried replaces what XML cannot carry.
func carried(r rune) rune {
	if notInXML(r) {
		return '\ufffd'
	}
	return r
}

func (c *call) body(status int, b []byte) {
	c.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // a reader that went away is no error here
}
