package eureka

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what an instance may say, in bytes.
const (
	maxID       = 512
	maxApp      = 128
	maxHost     = 253
	maxName     = 1024 // addresses, virtual host names, labels
	maxURL      = 4096
	maxKey      = 1024
	maxSeconds  = 24 * 60 * 60
	maxMapItems = 2000
)

// refusal is why a request was not carried out, for the wire.
type refusal struct {
	status int
	reason string
	plain  bool // the body is the bare text that Eureka answers with
}

func (e *refusal) Error() string { return e.reason }

func refuse(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, reason: fmt.Sprintf(format, args...)}
}

// missing says what Eureka says, in its order and words, about an instance posted to the application app.
func missing(i *Instance, app string) error {
	var reason string
	switch {
	case i.ID == "":
		reason = "Missing instanceId"
	case i.HostName == "":
		reason = "Missing hostname"
	case i.IPAddr == "":
		reason = "Missing ip address"
	case i.App == "":
		reason = "Missing appName"
	case i.App != app:
		reason = fmt.Sprintf("Mismatched appName, expecting %s but was %s", app, i.App)
	case !i.hasDataCenter:
		reason = "Missing dataCenterInfo"
	case i.DataCenter.Name == "":
		reason = "Missing dataCenterInfo Name"
	default:
		return nil
	}
	return &refusal{status: http.StatusBadRequest, reason: reason, plain: true}
}

// check judges what an instance says: lengths, and characters that logs, URLs or XML cannot carry.
func check(i *Instance) error {
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"instanceId", i.ID, maxID},
		{"app", i.App, maxApp},
		{"hostName", i.HostName, maxHost},
		{"ipAddr", i.IPAddr, maxName},
		{"vipAddress", i.VIPAddress, maxName},
		{"secureVipAddress", i.SecureVIPAddress, maxName},
		{"sid", i.SID, maxName},
		{"appGroupName", i.AppGroup, maxName},
		{"asgName", i.ASG, maxName},
		{"homePageUrl", i.HomePageURL, maxURL},
		{"statusPageUrl", i.StatusPageURL, maxURL},
		{"healthCheckUrl", i.HealthCheckURL, maxURL},
		{"secureHealthCheckUrl", i.SecureHealthCheckURL, maxURL},
	} {
		if len(f.value) > f.limit {
			return refuse("%s is longer than %d bytes", f.name, f.limit)
		}
		if !printable(f.value) {
			return refuse("%s has characters that cannot be printed", f.name)
		}
	}
	if n := strings.IndexFunc(i.App, notInApp); n >= 0 {
		return refuse("app has a character that may not stand in a name: %q", i.App[n:n+1])
	}
	if strings.ContainsFunc(i.HostName, notInHost) {
		return refuse("hostName is neither a host name nor an IP address")
	}
	if i.LastDirty > maxDirty {
		return refuse("lastDirtyTimestamp is out of range")
	}
	switch i.DataCenter.Name {
	case dataCenterMyOwn, dataCenterAmazon, dataCenterNetflix:
	default:
		return refuse("dataCenterInfo name is not one of MyOwn, Amazon, Netflix")
	}
	if err := checkMap("metadata", i.Metadata); err != nil {
		return err
	}
	return checkMap("dataCenterInfo metadata", i.DataCenter.Metadata)
}

func checkMap(name string, m map[string]string) error {
	if len(m) > maxMapItems {
		return refuse("%s has more than %d keys", name, maxMapItems)
	}
	for k, v := range m {
		switch {
		case k == "":
			return refuse("%s has an empty key", name)
		case len(k) > maxKey:
			return refuse("%s has a key longer than %d bytes", name, maxKey)
		case !printable(k):
			return refuse("%s has a key with characters that cannot be printed", name)
		case !utf8.ValidString(v) || strings.ContainsFunc(v, notInXML):
			return refuse("%s %s has a character that XML cannot carry", name, k)
		}
	}
	return nil
}

// size is what the maps of an instance weigh, in bytes, about.
func size(i *Instance) int {
	n := 0
	for _, m := range []map[string]string{i.Metadata, i.DataCenter.Metadata} {
		for k, v := range m {
			n += len(k) + len(v)
		}
	}
	return n
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// notInApp: an application's name is a segment of paths, so what would need escaping there is refused.
func notInApp(r rune) bool {
	return r <= ' ' || r >= utf8.RuneSelf || strings.ContainsRune(`/\?#%"<>|^{}`+"`", r)
}

func notInHost(r rune) bool {
	return r >= utf8.RuneSelf || !nameByte(byte(r)) && !strings.ContainsRune("_:[]", r)
}

// notInXML: XML 1.0, section 2.2, Char.
func notInXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

// checkReach judges where an instance says it is reached, so that nobody makes the gateway dial what only the
// gateway can reach. near says that the registrant is on this machine: only it may name loopback.
func checkReach(host string, allowed []string, near bool) error {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	addr = addr.Unmap()
	switch {
	case err != nil && (strings.ContainsAny(name, ":[]") || endsInNumber(name)):
		// 127.1, 0x7f000001 and their like: some resolvers take them for addresses.
		return refuse("hostName %s is neither a host name nor an IP address", host)
	case err == nil && (addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast()):
		return refuse("hostName %s is an address that no service can be reached at", host)
	case !near && (err == nil && addr.IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost")):
		return refuse("hostName %s is loopback, but the registration came from another machine", host)
	}
	if hostAllowed(host, allowed) {
		return nil
	}
	return &refusal{status: http.StatusForbidden, reason: fmt.Sprintf("hostName %s is not among registry.allowedHosts", host)}
}

// hostAllowed says whether host is among allowed, or those are not limited.
func hostAllowed(host string, allowed []string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	addr, _ := netip.ParseAddr(strings.Trim(name, "[]")) // no address matches no network
	return len(allowed) == 0 || slices.ContainsFunc(allowed, func(a string) bool {
		return hostMatches(name, addr.Unmap(), strings.ToLower(a))
	})
}

// hostMatches compares with a name, "*.domain" (its subdomains) or a network.
func hostMatches(name string, addr netip.Addr, pattern string) bool {
	if domain, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasPrefix(domain, ".") {
		return strings.HasSuffix(name, domain) && len(name) > len(domain)
	}
	if network, err := netip.ParsePrefix(pattern); err == nil {
		return addr.IsValid() && network.Contains(addr)
	}
	if other, err := netip.ParseAddr(pattern); err == nil {
		return other.Unmap() == addr
	}
	return name == pattern
}

// endsInNumber says whether the last label is a number that some resolvers take for the last part of an IPv4
// address: decimal, octal or hexadecimal, of at most 32 bits. Longer ones are names, as containers have them.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	_, decimal := strconv.ParseUint(last, 10, 32)
	_, other := strconv.ParseUint(last, 0, 32)
	return decimal == nil || other == nil
}
