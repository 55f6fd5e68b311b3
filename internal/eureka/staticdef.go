package eureka

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// staticPrefix begins the ids of instances of static definitions, as Zowe's Discovery Service makes them.
const staticPrefix = "STATIC-"

// staticFile is what one file of static definitions says.
type staticFile struct {
	services   []staticService
	additional []additional
	bad        []string // ids of services that are wrong
}

// staticService is a service that does not register itself.
type staticService struct {
	id        string // lower case
	line      int
	instances []*Instance
}

// additional is metadata for a service that registers itself.
type additional struct {
	id       string // lower case
	metadata map[string]string
	force    bool // it goes before what the service says
}

// apply adds the metadata to an instance's, which is not yet shared.
func (a additional) apply(metadata map[string]string) {
	for k, v := range a.metadata {
		if _, has := metadata[k]; !has || a.force {
			metadata[k] = v
		}
	}
}

// staticReader reads one file.
type staticReader struct {
	out   staticFile
	tiles map[string]map[string]string // metadata by the tile's id
	errs  []error                      // *lineError
	minor []error                      // *lineError: nothing suffers from them
}

// parseStatic reads a file of Zowe's static definitions. A service that is wrong is left out; the errors say why, each with its
// line. ok is false where the file as a whole cannot be read.
func parseStatic(data []byte) (out staticFile, errs []error, ok bool) {
	docs, err := parseTree(data)
	if err != nil {
		return out, []error{err}, false
	}
	r := staticReader{tiles: map[string]map[string]string{}}
	for _, doc := range docs {
		if doc.null() {
			continue
		}
		if doc.members == nil {
			return out, []error{doc.errorf("want keys and values")}, false
		}
		r.readTiles(doc.member("catalogUiTiles"))
		r.known(doc, "services", "catalogUiTiles", "additionalServiceMetadata")
		for _, n := range r.items(doc, "services") {
			r.service(n)
		}
		for _, n := range r.items(doc, "additionalServiceMetadata") {
			r.addition(n)
		}
	}
	return r.out, append(r.errs, r.minor...), true
}

func (r *staticReader) fail(err error) { r.errs = append(r.errs, err) }

// known tells of keys that mean nothing here; nothing else suffers from them.
func (r *staticReader) known(n node, keys ...string) {
next:
	for _, m := range n.members {
		for _, k := range keys {
			if m.key == k {
				continue next
			}
		}
		r.minor = append(r.minor, m.errorf("key %s is not known, and ignored", quoted(m.key)))
	}
}

// text is a member's text without white space around it; absent is empty.
func (r *staticReader) text(n node, key string) string {
	m := n.member(key)
	switch {
	case m.text != nil:
		return strings.TrimSpace(*m.text)
	case !m.null():
		r.fail(m.errorf("%s: want text", key))
	}
	return ""
}

// items is a member that is a list.
func (r *staticReader) items(n node, key string) []node {
	m := n.member(key)
	if m.list == nil && !m.null() {
		r.fail(m.errorf("%s: want a list", key))
	}
	return m.list
}

func (r *staticReader) readTiles(n node) {
	for _, m := range n.members {
		r.known(m.node, "id", "title", "description", "version")
		tile := map[string]string{newTile + "id": m.key, newTile + "version": "1.0.0"}
		for _, key := range []string{"title", "description", "version"} {
			if v := r.text(m.node, key); v != "" {
				tile[newTile+key] = v
			}
		}
		r.tiles[m.key] = tile
	}
}

// service reads one service with its instances.
func (r *staticReader) service(n node) {
	before := len(r.errs)
	s := staticService{id: strings.ToLower(r.text(n, "serviceId")), line: n.line}
	defer func() {
		if len(r.errs) > before {
			r.out.bad = append(r.out.bad, s.id)
		}
	}()
	r.known(n, "serviceId", "title", "description", "catalogUiTileId", "instanceBaseUrls", "homePageRelativeUrl",
		"statusPageRelativeUrl", "healthCheckRelativeUrl", "routes", "routedServices", "apiInfo", "authentication", "customMetadata")
	urls := r.items(n, "instanceBaseUrls")
	if s.id == "" {
		r.fail(n.errorf("serviceId is missing"))
		return
	}
	if len(urls) == 0 {
		r.fail(n.errorf("service %s: instanceBaseUrls is missing", quoted(s.id)))
		return
	}
	var first *url.URL
	for _, item := range urls {
		u, err := baseURL(item)
		if err != nil {
			r.fail(err)
			return
		}
		if first == nil {
			first = u
		}
		s.instances = append(s.instances, r.instance(n, s.id, u))
	}
	metadata := r.metadata(n, strings.TrimRight(first.EscapedPath(), "/"))
	if len(r.errs) > before {
		return // what is wrong has been said: half a service would be routed otherwise than was meant
	}
	for i, in := range s.instances {
		in.Metadata = metadata
		if err := check(in); err != nil {
			r.fail(urls[i].errorf("service %s: %w", quoted(s.id), err))
			return
		}
	}
	r.out.services = append(r.out.services, s)
}

func baseURL(n node) (*url.URL, error) {
	if n.text == nil {
		return nil, n.errorf("instanceBaseUrls: want an URL")
	}
	u, err := url.Parse(strings.TrimSpace(*n.text))
	switch {
	case err != nil:
		return nil, n.errorf("instanceBaseUrls %s: it is no URL", quoted(*n.text))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, n.errorf("instanceBaseUrls %s: want http or https", quoted(*n.text))
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, n.errorf("instanceBaseUrls %s: want scheme, host, port and path", quoted(u.Redacted()))
	}
	return u, nil
}

// instance is where a base URL says that the service is.
func (r *staticReader) instance(n node, id string, u *url.URL) *Instance {
	port, secure := 80, u.Scheme == "https"
	if secure {
		port = 443
	}
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = int(p)
	}
	host := u.Hostname()
	in := &Instance{
		ID: staticPrefix + host + ":" + id + ":" + strconv.Itoa(port), App: strings.ToUpper(id), HostName: host, IPAddr: host,
		VIPAddress: id, SecureVIPAddress: id, Status: Up, Overridden: Unknown,
		Port: Port{Number: port, Enabled: !secure}, SecurePort: Port{Number: port, Enabled: secure},
		DataCenter: DataCenter{Name: dataCenterMyOwn}, Lease: Lease{RenewalInterval: 30, Duration: 90},
	}
	base := u.Scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + strings.TrimRight(u.EscapedPath(), "/")
	at := func(key string) string {
		if rest := r.text(n, key); rest != "" {
			return base + "/" + strings.TrimLeft(rest, "/")
		}
		return ""
	}
	in.HomePageURL, in.StatusPageURL = at("homePageRelativeUrl"), at("statusPageRelativeUrl")
	if secure {
		in.SecureHealthCheckURL = at("healthCheckRelativeUrl")
	} else {
		in.HealthCheckURL = at("healthCheckRelativeUrl")
	}
	return in
}

// metadata is what a definition says of its service, in Eureka's flat keys. base is the path that all its routes begin with.
func (r *staticReader) metadata(n node, base string) map[string]string {
	out := map[string]string{versionMarker: metadataVersion}
	set := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	set(newService+"title", r.text(n, "title"))
	set(newService+"description", r.text(n, "description"))
	if tile := r.text(n, "catalogUiTileId"); tile != "" {
		set(newTile+"id", tile)
		for k, v := range r.tiles[tile] {
			out[k] = v
		}
	}
	for _, key := range []string{"routes", "routedServices"} {
		for i, item := range r.items(n, key) {
			r.known(item, "gatewayUrl", "serviceRelativeUrl")
			gatewayURL := strings.Trim(r.text(item, "gatewayUrl"), "/")
			if gatewayURL == "" {
				r.fail(item.errorf("%s: gatewayUrl is missing", key))
				continue
			}
			label := keyRoutes + strings.NewReplacer("/", "-", ".", "-").Replace(gatewayURL)
			if _, taken := out[label+".gatewayUrl"]; taken {
				label += "-" + strconv.Itoa(i)
			}
			out[label+".gatewayUrl"] = gatewayURL
			out[label+".serviceUrl"] = base + "/" + strings.TrimLeft(r.text(item, "serviceRelativeUrl"), "/")
		}
	}
	for i, item := range r.items(n, "apiInfo") {
		r.flatten(out, fmt.Sprintf("apiml.apiInfo.%d", i), item)
	}
	if a := n.member("authentication"); !a.null() {
		r.flatten(out, "apiml.authentication", a)
	}
	for _, m := range n.member("customMetadata").members {
		r.flatten(out, m.key, m.node)
	}
	return out
}

// flatten writes a tree as flat keys: "a.b.0.c".
func (r *staticReader) flatten(out map[string]string, key string, n node) {
	switch {
	case n.text != nil:
		out[key] = *n.text
	case n.list != nil:
		for i, item := range n.list {
			r.flatten(out, key+"."+strconv.Itoa(i), item)
		}
	default:
		for _, m := range n.members {
			r.flatten(out, key+"."+m.key, m.node)
		}
	}
}

// addition reads metadata for a service that registers itself.
func (r *staticReader) addition(n node) {
	before := len(r.errs)
	r.known(n, "serviceId", "mode", "title", "description", "catalogUiTileId", "homePageRelativeUrl", "statusPageRelativeUrl",
		"healthCheckRelativeUrl", "routes", "routedServices", "apiInfo", "authentication", "customMetadata")
	a := additional{id: strings.ToLower(r.text(n, "serviceId"))}
	switch mode := r.text(n, "mode"); mode {
	case "UPDATE", "":
	case "FORCE_UPDATE":
		a.force = true
	default:
		r.fail(n.member("mode").errorf("mode %s: want UPDATE or FORCE_UPDATE", quoted(mode)))
	}
	if a.id == "" {
		r.fail(n.errorf("serviceId is missing"))
	}
	a.metadata = r.metadata(n, "")
	delete(a.metadata, versionMarker) // which keys the service uses, it says itself
	if err := checkMap("metadata", a.metadata); err != nil {
		r.fail(n.errorf("%w", err))
	}
	if len(r.errs) == before {
		r.out.additional = append(r.out.additional, a)
	}
}
