package websocket

import (
	"strconv"
	"strings"
)

// deflateName is the one extension that is passed on (RFC 7692).
const deflateName = "permessage-deflate"

// An extension is one element of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params []param
}

// A param is one parameter of an extension. value is empty for a parameter without one: the grammar has no empty value.
type param struct{ name, value string }

// String writes e in one canonical form, without quotes: the grammar lets only tokens be quoted.
func (e extension) String() string {
	var b strings.Builder
	b.WriteString(e.name)
	for _, p := range e.params {
		b.WriteString("; ")
		b.WriteString(p.name)
		if p.value != "" {
			b.WriteByte('=')
			b.WriteString(p.value)
		}
	}
	return b.String()
}

// parseExtensions reads the values of Sec-WebSocket-Extensions (RFC 6455, section 9.1). Several fields are one list;
// empty elements are ignored. It costs time linear in the size of the values.
func parseExtensions(values []string) (exts []extension, ok bool) {
	for _, v := range values {
		s := scanner{rest: v}
		for {
			s.space()
			if s.rest == "" {
				break
			}
			if s.take(',') {
				continue
			}
			e, ok := s.extension()
			if !ok {
				return nil, false
			}
			exts = append(exts, e)
			if s.rest != "" && !s.take(',') {
				return nil, false
			}
		}
	}
	return exts, true
}

// A scanner reads the tokens of one header value.
type scanner struct{ rest string }

func (s *scanner) extension() (e extension, ok bool) {
	if e.name, ok = s.token(); !ok {
		return e, false
	}
	for s.space(); s.take(';'); s.space() {
		s.space()
		var p param
		if p.name, ok = s.token(); !ok {
			return e, false
		}
		s.space()
		if s.take('=') {
			s.space()
			if p.value, ok = s.value(); !ok {
				return e, false
			}
		}
		e.params = append(e.params, p)
	}
	return e, true
}

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) take(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) token() (string, bool) {
	n := 0
	for n < len(s.rest) && tokenByte(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t, n > 0
}

// value reads a token or a quoted-string that holds one.
func (s *scanner) value() (string, bool) {
	if !s.take('"') {
		return s.token()
	}
	var b strings.Builder
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		if c == '"' {
			return b.String(), b.Len() > 0
		}
		if c == '\\' && s.rest != "" {
			c = s.rest[0]
			s.rest = s.rest[1:]
		}
		if !tokenByte(c) {
			return "", false
		}
		b.WriteByte(c)
	}
	return "", false
}

// The window of permessage-deflate is 2^8 to 2^15 bytes (RFC 7692, section 7.1.2).
const (
	minWindow = 8
	maxWindow = 15
)

// deflate is one permessage-deflate element. A window of 0 means that the parameter is not there; clientAny, that
// client_max_window_bits is there without a value, which only an offer may do.
type deflate struct {
	serverNoContext, clientNoContext bool
	serverWindow, clientWindow       int
	clientAny                        bool
}

// parseDeflate reads e as an offer or an answer (RFC 7692, section 7.1). ok is false if e is no permessage-deflate, or has
// a parameter that is unknown, there twice, or has a value it may not have.
func parseDeflate(e extension, offer bool) (d deflate, ok bool) {
	if e.name != deflateName {
		return d, false
	}
	for i, p := range e.params {
		for _, q := range e.params[:i] { // at most 4: a fifth is unknown or a duplicate
			if p.name == q.name {
				return d, false
			}
		}
		switch p.name {
		case "server_no_context_takeover":
			d.serverNoContext, ok = true, p.value == ""
		case "client_no_context_takeover":
			d.clientNoContext, ok = true, p.value == ""
		case "server_max_window_bits":
			d.serverWindow, ok = windowBits(p.value)
		case "client_max_window_bits":
			if p.value == "" && offer {
				d.clientAny, ok = true, true
			} else {
				d.clientWindow, ok = windowBits(p.value)
			}
		default:
			ok = false
		}
		if !ok {
			return d, false
		}
	}
	return d, true
}

// windowBits reads a decimal number without leading zeros between 8 and 15.
func windowBits(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= minWindow && n <= maxWindow && s == strconv.Itoa(n)
}

// checkDeflateAnswer says what is wrong with the answer to offers, or "". An answer must accept one of the offers.
func checkDeflateAnswer(answer extension, offers []string) string {
	a, ok := parseDeflate(answer, false)
	if !ok {
		return "permessage-deflate answer is not legal"
	}
	exts, ok := parseExtensions(offers)
	if !ok || len(exts) == 0 {
		return "extension was not offered"
	}
	for _, e := range exts {
		if o, ok := parseDeflate(e, true); ok && o.accepts(a) {
			return ""
		}
	}
	return "permessage-deflate answer does not fit the offer"
}

// accepts reports whether a is a legal answer to the offer o.
func (o deflate) accepts(a deflate) bool {
	switch {
	case o.serverNoContext && !a.serverNoContext: // RFC 7692, section 7.1.1.1
		return false
	case o.serverWindow != 0 && (a.serverWindow == 0 || a.serverWindow > o.serverWindow): // section 7.1.2.1
		return false
	case a.clientWindow != 0 && o.clientWindow == 0 && !o.clientAny: // section 7.1.2.2
		return false
	case a.clientWindow != 0 && o.clientWindow != 0 && a.clientWindow > o.clientWindow:
		return false
	}
	return true
}

// hasToken reports whether the comma-separated list of values holds token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if equalFold(trim(t), token) {
				return true
			}
		}
	}
	return false
}

// equalFold compares without regard to ASCII case: strings.EqualFold alone takes the Kelvin sign for a k.
func equalFold(s, token string) bool { return len(s) == len(token) && strings.EqualFold(s, token) }

// trim removes optional whitespace (RFC 9110, section 5.6.3), and nothing else that Unicode calls a space.
func trim(s string) string { return strings.Trim(s, " \t") }

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
