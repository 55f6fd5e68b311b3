package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A verdict is a CheckResponse of envoy.service.auth.v3, as far as it is heeded here.
type verdict struct {
	code    uint64 // of google.rpc.Status; 0: it may pass
	said    bool   // there is a status, or an OkHttpResponse: an empty message is no yes
	refuses bool   // there is a DeniedHttpResponse, which no code overrules

	headers     []headerOption // of the request, or of the answer to the client if it may not pass
	remove      []string       // OkHttpResponse: headers_to_remove
	answer      []headerOption // OkHttpResponse: response_headers_to_add
	setQuery    []headerOption // OkHttpResponse: query_parameters_to_set
	removeQuery []string       // OkHttpResponse: query_parameters_to_remove

	status int    // DeniedHttpResponse; 403 if it says none that can be sent
	body   []byte // DeniedHttpResponse
}

// A headerOption is a HeaderValueOption, or a QueryParameter. A field that does not say append is set (OkHttpResponse.headers:
// "append … defaults to false").
type headerOption struct {
	name, value string
	add         bool
	action      uint64
}

// Values of HeaderAppendAction that say more than append does.
const (
	addIfAbsent       = 1
	overwriteIfExists = 3
)

var errVerdict = errors.New("the answer is no CheckResponse")

// parseCheck reads a CheckResponse. Fields that it does not know are passed over; one of those that decide which is of another type
// than it should be is an error.
func parseCheck(b []byte) (*verdict, error) {
	v := new(verdict)
	err := eachField(b, func(number int, _ uint64, p []byte) error {
		switch {
		case number > 3:
			return nil
		case p == nil:
			return errVerdict
		case number == 1: // google.rpc.Status
			v.said = true
			return eachField(p, func(number int, n uint64, p []byte) error {
				switch {
				case number != 1:
				case p != nil:
					return errVerdict
				default:
					v.code = n
				}
				return nil
			})
		case number == 2: // DeniedHttpResponse; of it and the other, the last counts
			*v = verdict{code: v.code, said: v.said, refuses: true}
			return eachField(p, v.readDenied)
		}
		*v = verdict{code: v.code, said: true} // OkHttpResponse
		return eachField(p, v.readOK)
	})
	if err == nil && !v.said && !v.refuses {
		err = errVerdict
	}
	if v.status < http.StatusOK || v.status > 599 {
		v.status = http.StatusForbidden
	}
	return v, err
}

func (v *verdict) readDenied(number int, _ uint64, p []byte) (err error) {
	switch number {
	case 1: // HttpStatus
		err = eachField(p, func(number int, n uint64, _ []byte) error {
			if number == 1 {
				v.status = int(min(n, 1000))
			}
			return nil
		})
	case 2:
		v.headers, err = appendOption(v.headers, p)
	case 3:
		v.body = p
	}
	return err
}

func (v *verdict) readOK(number int, _ uint64, p []byte) (err error) {
	switch number {
	case 2:
		v.headers, err = appendOption(v.headers, p)
	case 5:
		v.remove = append(v.remove, string(p))
	case 6:
		v.answer, err = appendOption(v.answer, p)
	case 7:
		o := headerOption{}
		err = o.readPair(p)
		v.setQuery = append(v.setQuery, o)
	case 8:
		v.removeQuery = append(v.removeQuery, string(p))
	}
	return err
}

// appendOption reads a HeaderValueOption.
func appendOption(list []headerOption, b []byte) ([]headerOption, error) {
	var o headerOption
	err := eachField(b, func(number int, n uint64, p []byte) error {
		switch number {
		case 1:
			return o.readPair(p)
		case 2: // append: google.protobuf.BoolValue
			return eachField(p, func(number int, n uint64, _ []byte) error {
				o.add = number == 1 && n != 0
				return nil
			})
		case 3: // append_action
			o.action = n
		}
		return nil
	})
	return append(list, o), err
}

// readPair reads a HeaderValue, whose value is text or raw, or a QueryParameter.
func (o *headerOption) readPair(b []byte) error {
	return eachField(b, func(number int, _ uint64, p []byte) error {
		switch number {
		case 1:
			o.name = string(p)
		case 2, 3:
			o.value = string(p)
		}
		return nil
	})
}

// granted is what is to be changed in a request that may pass.
func (v *verdict) granted(x *exchange) *grant {
	g := &grant{}
	for _, o := range v.headers {
		has := x.request.Fields.Has(o.name)
		if o.action == addIfAbsent && has || o.action == overwriteIfExists && !has {
			continue
		}
		o.edit(&g.request)
	}
	g.request.Remove = v.remove
	for _, o := range v.answer {
		o.edit(&g.answer)
	}
	if len(v.setQuery)+len(v.removeQuery) > 0 {
		q := editQuery(x.query, v.setQuery, v.removeQuery)
		g.query = &q
	}
	return g
}

// edit adds o to an edit; of several that set one field the last counts.
func (o *headerOption) edit(e *route.HeaderEdit) {
	f := route.HeaderValue{Name: o.name, Value: o.value}
	if o.add {
		e.Add = append(e.Add, f)
		return
	}
	e.Set = slices.DeleteFunc(e.Set, func(old route.HeaderValue) bool { return strings.EqualFold(old.Name, o.name) })
	e.Set = append(e.Set, f)
}

// denied is the answer to the client.
func (v *verdict) denied() *subanswer {
	e := &route.HeaderEdit{}
	for _, o := range v.headers {
		o.edit(e)
	}
	a := &subanswer{status: v.status, body: v.body, fields: passedOn(edits{e}.apply(http1.Fields{}))}
	switch {
	case a.status == http.StatusNoContent || a.status == http.StatusNotModified:
		a.body = nil
	case len(a.body) > 0 && !a.fields.Has("Content-Type"):
		a.fields.Add("Content-Type", "text/plain")
	}
	return a
}

// editQuery changes parameters of a raw query, which begins with "?" or is "". The others stay byte for byte.
func editQuery(query string, set []headerOption, remove []string) string {
	var kept []string
	for p := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		raw, _, _ := strings.Cut(p, "=")
		name, err := url.QueryUnescape(raw)
		if err != nil {
			name = raw
		}
		if !slices.Contains(remove, name) && !slices.ContainsFunc(set, func(o headerOption) bool { return o.name == name }) {
			kept = append(kept, p)
		}
	}
	for _, o := range set {
		kept = append(kept, url.QueryEscape(o.name)+"="+url.QueryEscape(o.value))
	}
	if q := strings.Join(kept, "&"); q != "" {
		return "?" + q
	}
	return ""
}
