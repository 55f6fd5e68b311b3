package route

import (
	"fmt"
	"strings"
)

// Words is each filter as a person reads it, in the order in which they act: "set X-A", "rewrite path /b". Values of
// header fields are left out, as they may be secrets. Nil has none.
func (f *Filters) Words() []string {
	if f == nil {
		return nil
	}
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if f.Unsupported != "" {
		say("unsupported: %s", f.Unsupported)
	}
	if f.CORS != nil {
		say("CORS for %s", strings.Join(f.CORS.AllowOrigins, " "))
	}
	if a := f.ExternalAuth; a != nil {
		say("authorized by %s", a.Backend.Name)
	}
	words = append(words, f.RequestHeaders.words("")...)
	if r := f.Redirect; r != nil {
		say("redirect %d%s", r.Status, r.words())
	}
	if r := f.Rewrite; r != nil {
		if r.Hostname != "" {
			say("rewrite host %s", r.Hostname)
		}
		if r.Path != nil {
			say("rewrite %s", r.Path)
		}
	}
	for i := range f.Mirrors {
		m := &f.Mirrors[i]
		share := ""
		if m.Denominator > 0 {
			share = fmt.Sprintf("%d/%d ", m.Numerator, m.Denominator)
		}
		say("mirror %sto %s", share, m.Backend.Name)
	}
	return append(words, f.ResponseHeaders.words("answer: ")...)
}

func (e *HeaderEdit) words(of string) []string {
	var words []string
	for _, v := range e.Set {
		words = append(words, of+"set "+v.Name)
	}
	for _, v := range e.Add {
		words = append(words, of+"add "+v.Name)
	}
	for _, name := range e.Remove {
		words = append(words, of+"remove "+name)
	}
	return words
}

// words is where a redirect leads, of which a request's own parts are left out: " to https, path /b".
func (r *Redirect) words() string {
	var to []string
	if r.Scheme != "" {
		to = append(to, r.Scheme)
	}
	if r.Hostname != "" {
		to = append(to, "host "+r.Hostname)
	}
	if r.Port != 0 {
		to = append(to, fmt.Sprintf("port %d", r.Port))
	}
	if r.Path != nil {
		to = append(to, r.Path.String())
	}
	if len(to) == 0 {
		return ""
	}
	return " to " + strings.Join(to, ", ")
}

// String is "path /b", or "prefix /b".
func (p *PathRewrite) String() string {
	if p.Full {
		return "path " + p.Value
	}
	return "prefix " + p.Value
}

// Protocol is what clients speak at h on l: "http", "https", "tls" (passed through), "tls, terminated", "tcp", "udp".
func (h *Host) Protocol(l *Listener) string {
	switch {
	case l.Transport != TransportTLS:
		return string(l.Transport)
	case h.TLS == nil:
		return "tls"
	case h.Raw || len(h.Streams) > 0:
		return "tls, terminated"
	}
	return "https"
}
