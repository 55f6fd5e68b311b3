package eureka

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Metadata of Zowe's that says how a service's routes behave (zowe.md, section 4.7). Fairlead's own keys overlay it.
const (
	keyCORSEnabled    = "apiml.corsEnabled"
	keyCORSOrigins    = "apiml.corsAllowedOrigins"
	keyEncoded        = "apiml.enableUrlEncodedCharacters"
	keyConnectTimeout = "apiml.connectTimeout"
	keyReadTimeout    = "apiml.readTimeout"
	keyAnswerHeaders  = "apiml.response.headers"
	keyIgnoredHeaders = "apiml.headersToIgnore"
	keyBalancer       = "apiml.lb.type"
	keyRetryAll       = "apiml.okToRetryOnAllOperations"
)

// readZowe reads the instance's keys of this kind.
func (o *offer) readZowe() {
	o.readCORS()
	if value := o.instance.Metadata[keyEncoded]; value != "" && !isTrue(value) {
		o.policy.EncodedPath = route.EncodedNothing
	}
	o.policy.Timeouts.Connect = o.milliseconds(keyConnectTimeout)
	o.policy.Timeouts.Response = o.milliseconds(keyReadTimeout)
	o.readHeaders()
	o.readBalancer()
	if isTrue(o.instance.Metadata[keyRetryAll]) {
		o.policy.Retries.Methods = route.RetryAll
	}
}

// readBalancer reads Zowe's load balancers (zowe.md, section 5.2). A user's instance is found by hash, not kept for hours.
func (o *offer) readBalancer() {
	switch value := strings.TrimSpace(o.instance.Metadata[keyBalancer]); {
	case value == "":
	case strings.EqualFold(value, "headerRequest"):
		o.policy.LoadBalancing = upstream.Named
	case strings.EqualFold(value, "authentication"):
		o.policy.LoadBalancing, o.policy.Hash = upstream.Hash, route.Hash{User: true}
	default:
		o.problem(keyBalancer, value, errors.New("want headerRequest or authentication"))
	}
}

// readHeaders reads "Name:Value, Name:Value", which the service's answers are given, and a list of names that its requests
// lose.
func (o *offer) readHeaders() {
	var f route.Filters
	for _, item := range o.list(keyAnswerHeaders) {
		name, value, ok := strings.Cut(item, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			o.problem(keyAnswerHeaders, item, errors.New("want Name:Value"))
			continue
		}
		f.ResponseHeaders.Set = append(f.ResponseHeaders.Set, route.HeaderValue{Name: name, Value: value})
	}
	for _, name := range o.list(keyIgnoredHeaders) {
		if !httpguts.ValidHeaderFieldName(name) {
			o.problem(keyIgnoredHeaders, name, errors.New("no name of a header"))
			continue
		}
		f.RequestHeaders.Remove = append(f.RequestHeaders.Remove, name)
	}
	if !f.RequestHeaders.Empty() || !f.ResponseHeaders.Empty() {
		o.filters = &f
	}
}

// list is what a key's value names between commas.
func (o *offer) list(key string) (items []string) {
	for item := range strings.SplitSeq(o.instance.Metadata[key], ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// readCORS reads the origins that Zowe's CORS metadata allows. They add to the gateway's own
// origin, unless apiml.corsEnabled is false. Where that is true the gateway answers CORS for the service; for WebSocket
// corsEnabled alone adds nothing.
func (o *offer) readCORS() {
	o.cors = isTrue(o.instance.Metadata[keyCORSEnabled])
	_, ok := o.instance.Metadata[keyCORSOrigins]
	if !ok || strings.EqualFold(strings.TrimSpace(o.instance.Metadata[keyCORSEnabled]), "false") {
		return
	}
	allowed := []string{}
	for _, origin := range o.list(keyCORSOrigins) {
		var one route.Policy
		if err := one.Set("websocket.allowedOrigins", origin); err != nil {
			o.problem(keyCORSOrigins, origin, err)
			continue
		}
		allowed = append(allowed, origin)
	}
	o.policy.WebSocket.AllowedOrigins = allowed
}

// maxMilliseconds bounds what is taken for a timeout: a day.
const maxMilliseconds = 24 * 60 * 60 * 1000

// milliseconds reads a timeout; 0 if nothing is said, or nothing that can be.
func (o *offer) milliseconds(key string) time.Duration {
	value := strings.TrimSpace(o.instance.Metadata[key])
	if value == "" {
		return 0
	}
	ms, err := strconv.Atoi(value)
	if err != nil || ms < 1 || ms > maxMilliseconds {
		o.problem(key, value, fmt.Errorf("want 1 to %d milliseconds", maxMilliseconds))
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

func isTrue(value string) bool { return strings.EqualFold(strings.TrimSpace(value), "true") }
