package eureka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// object is a JSON object whose members are read one by one, so that each may have any of the shapes that
// clients send.
type object map[string]json.RawMessage

// jsonReader reads members and keeps the first error.
type jsonReader struct{ err error }

// parseJSONInstance reads {"instance":{…}}, or the bare object.
func parseJSONInstance(data []byte) (*Instance, error) {
	var doc object
	if err := json.Unmarshal(trimMark(data), &doc); err != nil {
		return nil, err
	}
	var r jsonReader
	if inner, ok := doc["instance"]; ok {
		doc = r.object("instance", inner)
	}
	if r.err == nil && doc == nil {
		return nil, errors.New("instance is missing")
	}
	i := r.instance(doc)
	return i, r.err
}

func (r *jsonReader) instance(o object) *Instance {
	i := &Instance{
		ID:               r.name(o, "instanceId"),
		App:              strings.ToUpper(r.name(o, "app")),
		HostName:         r.name(o, "hostName"),
		IPAddr:           r.name(o, "ipAddr"),
		VIPAddress:       r.name(o, "vipAddress"),
		SecureVIPAddress: r.name(o, "secureVipAddress"),
		Status:           Up,
		Overridden:       ParseStatus(r.name(o, "overriddenStatus", "overriddenstatus")),
		Port:             r.port(o, "port", Port{Number: defaultPort, Enabled: true}),
		SecurePort:       r.port(o, "securePort", Port{Number: defaultSecurePort}),
		Metadata:         r.metadata(o, "metadata"),
		LastUpdated:      r.number(o, "lastUpdatedTimestamp"),
		LastDirty:        r.number(o, "lastDirtyTimestamp"),
		Action:           parseAction(r.name(o, "actionType")),
		URLs: URLs{
			HomePageURL:          r.name(o, "homePageUrl"),
			StatusPageURL:        r.name(o, "statusPageUrl"),
			HealthCheckURL:       r.name(o, "healthCheckUrl"),
			SecureHealthCheckURL: r.name(o, "secureHealthCheckUrl"),
		},
		Labels: Labels{
			SID:          r.name(o, "sid"),
			AppGroup:     r.name(o, "appGroupName"),
			ASG:          r.name(o, "asgName"),
			CountryID:    int(r.number(o, "countryId")),
			Coordinating: r.flag(o, "isCoordinatingDiscoveryServer", false),
		},
	}
	if present(o["status"]) {
		i.Status = ParseStatus(r.name(o, "status"))
	}
	if present(o["dataCenterInfo"]) {
		dc := r.object("dataCenterInfo", o["dataCenterInfo"])
		i.DataCenter.Name = r.name(dc, "name")
		if m := r.metadata(dc, "metadata"); len(m) > 0 {
			i.DataCenter.Metadata = m
		}
		i.hasDataCenter = true
	}
	if present(o["leaseInfo"]) {
		l := r.object("leaseInfo", o["leaseInfo"])
		i.Lease = Lease{
			RenewalInterval: int(r.number(l, "renewalIntervalInSecs")),
			Duration:        int(r.number(l, "durationInSecs")),
			Registered:      r.number(l, "registrationTimestamp"),
			LastRenewal:     r.number(l, "lastRenewalTimestamp", "renewalTimestamp"),
			Evicted:         r.number(l, "evictionTimestamp"),
			ServiceUp:       r.number(l, "serviceUpTimestamp"),
		}
	}
	return i
}

// present says whether a member is there and not null.
func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (r *jsonReader) fail(name, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %s", name, what)
	}
}

func (r *jsonReader) object(name string, raw json.RawMessage) object {
	if !present(raw) {
		return nil
	}
	var o object
	if json.Unmarshal(raw, &o) != nil {
		r.fail(name, "is not an object")
	}
	return o
}

// text is the first of names that is present: a string, or the text of a number or boolean.
func (r *jsonReader) text(o object, names ...string) string {
	for _, name := range names {
		raw := o[name]
		if !present(raw) {
			continue
		}
		switch raw[0] {
		case '"':
			return unquote(raw)
		case '{', '[':
			r.fail(name, "is not a text")
			return ""
		}
		return string(raw)
	}
	return ""
}

// name is text without white space around it.
func (r *jsonReader) name(o object, names ...string) string {
	return strings.TrimSpace(r.text(o, names...))
}

// number reads an integer, written as a number or a string; absent or empty is 0.
func (r *jsonReader) number(o object, names ...string) int64 {
	n, err := parseNumber(r.name(o, names...))
	if err != nil {
		r.fail(names[0], "is not a number")
	}
	return n
}

func (r *jsonReader) flag(o object, name string, absent bool) bool {
	v, err := parseFlag(r.name(o, name), absent)
	if err != nil {
		r.fail(name, "is neither true nor false")
	}
	return v
}

// port reads {"$":8080,"@enabled":"true"}, or a bare number.
func (r *jsonReader) port(o object, name string, absent Port) Port {
	raw := o[name]
	if !present(raw) {
		return absent
	}
	p := absent
	if raw[0] == '{' {
		in := r.object(name, raw)
		p.Enabled = r.flag(in, "@enabled", absent.Enabled)
		if present(in["$"]) {
			p.Number = r.portNumber(name, r.name(in, "$"), absent.Number)
		}
		return p
	}
	p.Number = r.portNumber(name, r.name(o, name), absent.Number)
	return p
}

func (r *jsonReader) portNumber(name, text string, absent int) int {
	n, err := parsePort(text, absent)
	if err != nil {
		r.fail(name, err.Error())
	}
	return n
}

// metadata reads the flat map. Values that are no strings keep their JSON text; null is the empty string.
func (r *jsonReader) metadata(o object, name string) map[string]string {
	out := map[string]string{}
	for k, raw := range r.object(name, o[name]) {
		switch {
		case k == "@class": // how Java marks the type of a map
		case !present(raw):
			out[k] = ""
		case raw[0] == '"':
			out[k] = unquote(raw)
		case raw[0] == '{' || raw[0] == '[':
			var b bytes.Buffer
			_ = json.Compact(&b, raw) // raw was parsed already
			out[k] = strings.ToValidUTF8(b.String(), "\ufffd")
		default:
			out[k] = string(raw)
		}
	}
	return out
}

func unquote(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s) // raw was parsed already
	return s
}

// trimMark removes a byte order mark, which some editors put before a document.
func trimMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

func parseAction(s string) Action {
	switch a := Action(s); a {
	case Added, Modified, Deleted:
		return a
	}
	return ""
}

// parseNumber reads an integer as any client writes it: 1700000000000, "1700000000000" or 1.7e12. Empty is 0.
func parseNumber(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > -1<<53 && f < 1<<53) {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return int64(f), nil
}

func parseFlag(s string, absent bool) (bool, error) {
	switch {
	case s == "":
		return absent, nil
	case strings.EqualFold(s, "true"):
		return true, nil
	case strings.EqualFold(s, "false"):
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func parsePort(s string, absent int) (int, error) {
	if s == "" {
		return absent, nil
	}
	n, err := parseNumber(s)
	if err != nil {
		return 0, errors.New("is not a number")
	}
	if n < 0 || n > 65535 {
		return 0, errors.New("is not between 0 and 65535")
	}
	return int(n), nil
}
