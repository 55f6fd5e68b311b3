package proxy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// Bounds of asking another service.
const (
	authTimeout   = 5 * time.Second // until its whole answer is here, connecting included
	maxAuthAnswer = 64 << 10        // bytes of the body of its answer
)

// authorize asks the service of a filter whether the request, or the handshake, may pass (GEP-1494). Nothing has been sent to a
// backend by then, and nothing passes without a yes. The error says why it may not: the service's own answer, or that there was
// none that could be understood in time, which is 503. A redirect of the rule comes behind it, and so does what the rule itself
// changes.
func (s *Server) authorize(x *exchange, f *route.Filters) error {
	if f == nil || f.ExternalAuth == nil {
		return nil
	}
	a := f.ExternalAuth
	if a.Backend == nil || a.Backend.Invalid != "" {
		return noBackend("external authorization has no backend")
	}
	body, err := x.bodyFor(a)
	if err != nil {
		return err
	}
	q := &subrequest{
		settings: x.settings, policy: x.to.PolicyFor(a.Backend), service: a.Backend.Service, sized: true,
		host: x.origin.host, most: maxAuthAnswer,
	}
	if a.GRPC {
		x.askGRPC(q, a, body)
	} else {
		x.askHTTP(q, a, body)
	}
	answer, err := s.consult(x, q)
	if err != nil {
		return undecided(a, err)
	}
	var g *grant
	if a.GRPC {
		g, err = x.heedGRPC(a, answer)
	} else {
		g, err = heedHTTP(a, answer)
	}
	if err != nil {
		return err
	}
	x.disguised(&g.request)
	x.to.edits = append(edits{&g.request}, x.to.edits...)
	x.to.answers = append(edits{&g.answer}, x.to.answers...)
	if g.query != nil {
		x.query = *g.query
	}
	if f.Redirect != nil {
		return x.redirection(f.Redirect)
	}
	return nil
}

// A grant is what the service has changed in a request that may pass.
type grant struct {
	request, answer route.HeaderEdit
	query           *string // what goes to the backend in place of the request's; nil: as it is
}

// bodyFor is as much of the body as the service is to see: all of it, or nothing.
func (x *exchange) bodyFor(a *route.ExternalAuth) ([]byte, error) {
	if a.ForwardBody <= 0 {
		return nil, nil
	}
	if err := x.keep(a.ForwardBody); err != nil {
		return nil, err
	}
	if len(x.kept.content) > a.ForwardBody || !x.kept.whole { // a stream of gRPC, too, which is not waited for
		f := tooLarge()
		f.cause = "limit reached: forwardBody of the external authorization by " + a.Backend.Name
		f.detail = "The body of the request is larger than can be authorized."
		return nil, f
	}
	x.kept.content = bytes.Clone(x.kept.content) // Unwatch may give away the buffer that it is in
	return x.kept.content, nil
}

var errAuthTimeout = errors.New("no answer in time")

// consult sends q and waits, as long as the client does, and the time for the whole request lasts.
func (s *Server) consult(x *exchange, q *subrequest) (a *subanswer, err error) {
	until, late := time.Now().Add(s.asking), errAuthTimeout
	if t := x.to.policy.Timeouts.Effective().Request; t > 0 && x.record.Time.Add(t).Before(until) {
		until, late = x.record.Time.Add(t), errResponse
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	x.Watch(x.run, x.gone)
	defer x.Unwatch()
	if err := x.leash.holdDial(cancel); err != nil {
		return nil, err
	}
	x.run.Offload(func() { a, err = q.do(ctx) })
	if gone := x.leash.letGo(); gone != nil {
		return nil, gone
	}
	if err != nil && !time.Now().Before(until) {
		return nil, late
	}
	return a, err
}

// askHTTP makes q the question over HTTP: the request's method and its path behind the filter's, its Host, its Authorization, and
// what else the filter names; and the gateway's own id of the request, and its mark against loops.
func (x *exchange) askHTTP(q *subrequest, a *route.ExternalAuth, body []byte) {
	q.method, q.target, q.body = x.request.Method, strings.TrimSuffix(a.Path, "/")+x.path+x.query, body
	for _, f := range x.vouched() {
		if editable(f.Name) && (strings.EqualFold(f.Name, "Authorization") || names(a.AllowedHeaders, f.Name)) {
			q.fields = http1.AppendField(q.fields, f.Name, f.Value)
		}
	}
	q.fields = x.appendIDs(q.fields)
}

// vouched are the client's fields, with the gateway's own in the place of those in which a client is not believed.
func (x *exchange) vouched() http1.Fields {
	fields := make(http1.Fields, 0, len(x.request.Fields)+8)
	for i, f := range x.request.Fields {
		if kind := x.kinds[i]; kind < fieldRequestID || kind > fieldReserved {
			fields = append(fields, f)
		}
	}
	for line := range strings.SplitSeq(string(x.appendForward(nil, "")), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			fields.Add(name, value)
		}
	}
	return fields
}

// appendIDs appends what every question of the gateway's own says.
func (x *exchange) appendIDs(b []byte) []byte {
	chain := x.hopID
	if x.hops != "" {
		chain = x.hops + ", " + x.hopID
	}
	b = http1.AppendField(b, hopHeader, chain)
	return http1.AppendField(b, "X-Request-Id", x.record.RequestID)
}

// heedHTTP does what the answer says: 200 lets the request pass, with the fields that the filter names set on it. The client's
// own fields of those names never pass.
func heedHTTP(a *route.ExternalAuth, answer *subanswer) (*grant, error) {
	answer.fields = passedOn(answer.fields)
	switch {
	case answer.status == http.StatusOK:
		return &grant{request: granted(a.AllowedResponseHeaders, answer.fields)}, nil
	case answer.status < 300 || answer.status == http.StatusNotModified: // no answer to what the client has asked
		return nil, notAuthorized(a, http.StatusForbidden, "answer "+strconv.Itoa(answer.status))
	case answer.status >= 500:
		return nil, undecided(a, errors.New("answer "+strconv.Itoa(answer.status)))
	}
	return nil, denied(a, answer)
}

// passedOn are the fields of an answer that concern more than its connection and its framing, and that the service may say.
func passedOn(fields http1.Fields) http1.Fields {
	all := fields.Clone()
	fields.Keep(func(f http1.Field) bool { return editable(f.Name) && !named(all, f.Name, kindOf(f.Name)) })
	return fields
}

// granted are the fields of an answer that go on with the request. listed empty: all but those that describe the answer itself.
func granted(listed []string, fields http1.Fields) (e route.HeaderEdit) {
	for _, name := range listed {
		if !fields.Has(name) {
			e.Remove = append(e.Remove, name)
		}
	}
	for _, f := range fields {
		switch {
		case len(listed) > 0 && !names(listed, f.Name), len(listed) == 0 && ofAnswer(f.Name):
		case replaces(&e, f.Name):
			e.Add = append(e.Add, route.HeaderValue{Name: f.Name, Value: f.Value})
		default:
			e.Set = append(e.Set, route.HeaderValue{Name: f.Name, Value: f.Value})
		}
	}
	return e
}

// ofAnswer tells whether a field says something of the answer that it came with, or of the client's address, and nothing of a
// request that a service could know.
func ofAnswer(name string) bool {
	kind := kindOf(name)
	return hasPrefixFold(name, "Content-") || hasPrefixFold(name, "Access-Control-") || kind >= fieldForwardedFor && kind <= fieldForwarded ||
		names([]string{"Date", "Server", "Vary", "ETag", "Last-Modified", "Age", "Set-Cookie", "Cache-Control", "Expires"}, name)
}

// disguised has an edit take away the client's fields whose names some backends take for those of the edit: "_" and "." for "-".
func (x *exchange) disguised(e *route.HeaderEdit) {
	for _, f := range x.request.Fields {
		plain := disguise.Replace(f.Name)
		alike := func(name string) bool { return strings.EqualFold(disguise.Replace(name), plain) }
		edited := slices.ContainsFunc(e.Remove, alike) || slices.ContainsFunc(e.Set, func(v route.HeaderValue) bool { return alike(v.Name) })
		if edited && !replaces(e, f.Name) {
			e.Remove = append(e.Remove, f.Name)
		}
	}
}

var disguise = strings.NewReplacer("_", "-", ".", "-")

func names(list []string, name string) bool {
	return slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, name) })
}

// denied is the service's own answer, for the client.
func denied(a *route.ExternalAuth, answer *subanswer) *failure {
	if answer.status == statusClientGone { // it has a meaning of its own here
		answer.status = http.StatusForbidden
	}
	f := notAuthorized(a, answer.status, "answer "+strconv.Itoa(answer.status))
	f.fields = answer.fields
	if answer.cut { // half of a page is none
		f.fields.Keep(func(field http1.Field) bool { return !hasPrefixFold(field.Name, "Content-") })
		return f
	}
	f.bare, f.content = true, answer.body
	return f
}

// notAuthorized is a request that the external authorization has not let pass.
func notAuthorized(a *route.ExternalAuth, status int, why string) *failure {
	return &failure{
		status: status, http: true, cause: "refused: external authorization by " + a.Backend.Name + ": " + why,
		detail: "The request is not authorized.",
	}
}

// undecided is a request of which the external authorization has not said whether it may pass.
func undecided(a *route.ExternalAuth, why error) error {
	switch {
	case errors.Is(why, errClientGone) || errors.Is(why, errResponse):
		return why
	case overloaded(why):
		return overLimit("connections")
	}
	f := notAuthorized(a, http.StatusServiceUnavailable, why.Error())
	f.detail = "The request could not be authorized."
	return f
}
