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
	authTimeout   = 5 * time.Second
	maxAuthAnswer = 64 << 10 // bytes of the body of its answer
)

// authorize asks the service of a filter whether the request, or the handshake, may pass (GEP-1494). Nothing has been sent to a
// backend by then. The error says why it may not: the service's own answer, or that there was none, which is 503.
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
	answer, err := x.consult(q)
	switch {
	case errors.Is(err, errClientGone), errors.Is(err, errResponse):
		return err
	case err != nil:
		return notAuthorized(http.StatusServiceUnavailable, err.Error())
	case a.GRPC:
		return x.heedGRPC(answer)
	}
	return x.heedHTTP(a, answer)
}

// bodyFor is as much of the body as the service is to see: all of it, or nothing.
func (x *exchange) bodyFor(a *route.ExternalAuth) ([]byte, error) {
	if a.ForwardBody <= 0 {
		return nil, nil
	}
	if err := x.keep(a.ForwardBody); err != nil {
		return nil, err
	}
	if len(x.kept.content) > a.ForwardBody || x.request.Body.Length > int64(a.ForwardBody) || x.kept.begun && !x.kept.whole {
		f := tooLarge()
		f.cause, f.detail = "limit reached: forwardBody of the external authorization", "The body of the request is larger than can be authorized."
		return nil, f
	}
	return x.kept.content, nil
}

// consult sends q and waits, as long as the client does.
func (x *exchange) consult(q *subrequest) (a *subanswer, err error) {
	until, late := x.record.Time.Add(x.to.policy.Timeouts.Effective().Request), error(nil)
	if t := time.Now().Add(authTimeout); !until.After(x.record.Time) || t.Before(until) {
		until = t
	} else {
		late = errResponse // timeouts.request is what ends first
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	x.kept.content = bytes.Clone(x.kept.content) // Unwatch may give away the buffer that it is in
	x.Watch(x.run, x.gone)
	defer x.Unwatch()
	if err := x.leash.holdDial(cancel); err != nil {
		return nil, err
	}
	x.run.Offload(func() { a, err = q.do(ctx) })
	if gone := x.leash.letGo(); gone != nil {
		return nil, gone
	}
	if err != nil && late != nil && ctx.Err() != nil {
		err = late
	}
	return a, err
}

// askHTTP makes q the question over HTTP: the request's method and its path behind the filter's, its Host, its Authorization, and
// what else the filter names; and the gateway's own id of the request, and its mark against loops.
func (x *exchange) askHTTP(q *subrequest, a *route.ExternalAuth, body []byte) {
	q.method, q.target, q.body = x.request.Method, strings.TrimSuffix(a.Path, "/")+x.path+x.query, body
	for i, f := range x.request.Fields {
		switch x.kinds[i] {
		case fieldConnection, fieldHop, fieldUpgrade, fieldTE, fieldTrailer, fieldContentLength, fieldTransferEncoding, fieldExpect, fieldHost,
			fieldHopChain, fieldReserved, fieldRequestID:
			continue
		}
		if strings.EqualFold(f.Name, "Authorization") || names(a.AllowedHeaders, f.Name) {
			q.fields = http1.AppendField(q.fields, f.Name, f.Value)
		}
	}
	q.fields = x.appendIDs(q.fields)
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
func (x *exchange) heedHTTP(a *route.ExternalAuth, answer *subanswer) error {
	switch {
	case answer.status == http.StatusOK:
		x.to.edits = append(x.to.edits, granted(a.AllowedResponseHeaders, answer.fields))
		return nil
	case answer.status < 300:
		return notAuthorized(http.StatusForbidden, "answer "+strconv.Itoa(answer.status))
	case answer.status >= 500:
		return notAuthorized(http.StatusServiceUnavailable, "answer "+strconv.Itoa(answer.status))
	}
	return x.denied(answer.status, answer.fields, answer)
}

// granted are the fields of an answer that go on with the request. listed empty: all but those that describe the answer itself.
func granted(listed []string, fields http1.Fields) *route.HeaderEdit {
	e := new(route.HeaderEdit)
	for _, name := range listed {
		if !fields.Has(name) {
			e.Remove = append(e.Remove, name)
		}
	}
	for _, f := range fields {
		switch {
		case len(listed) > 0 && !names(listed, f.Name), len(listed) == 0 && ofAnswer(f.Name):
		case replaces(e, f.Name):
			e.Add = append(e.Add, route.HeaderValue{Name: f.Name, Value: f.Value})
		default:
			e.Set = append(e.Set, route.HeaderValue{Name: f.Name, Value: f.Value})
		}
	}
	return e
}

// ofAnswer tells whether a field says something of the answer that it came with, and nothing of a request.
func ofAnswer(name string) bool {
	return hasPrefixFold(name, "Content-") || hasPrefixFold(name, "Access-Control-") ||
		names([]string{"Date", "Server", "Vary", "ETag", "Last-Modified", "Age", "Set-Cookie", "Cache-Control", "Expires"}, name)
}

func names(list []string, name string) bool {
	return slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, name) })
}

// denied is the service's own answer, for the client.
func (x *exchange) denied(status int, fields http1.Fields, answer *subanswer) error {
	f := notAuthorized(status, "answer "+strconv.Itoa(status))
	if answer.cut {
		return f // half of a page is none
	}
	f.bare, f.content = true, answer.body
	for _, field := range fields {
		if editable(field.Name) {
			f.fields = append(f.fields, field)
		}
	}
	return f
}

// notAuthorized is a request that the external authorization has not let pass.
func notAuthorized(status int, why string) *failure {
	f := &failure{status: status, http: true, cause: "refused: external authorization: " + why, detail: "The request is not authorized."}
	if status == http.StatusServiceUnavailable {
		f.detail = "The request could not be authorized."
	}
	return f
}
