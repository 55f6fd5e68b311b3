package http1

import "strings"

// A Request is the head of a request, and what follows from it. All strings are substrings of the head.
type Request struct {
	Method string // a token, as it came: methods are case-sensitive
	Target string // the request-target as it came: origin-form, absolute-form, authority-form (CONNECT) or "*" (OPTIONS)
	Minor  int    // HTTP/1.Minor: 0 or 1
	Fields Fields // every field line as it came, Host and the framing fields among them

	Scheme string // of an absolute-form target, as it came: http, https, ws or wss; "" otherwise
	// Host is the authority that the request is for: of an absolute-form or authority-form target, else the Host field's
	// value. Its syntax is valid ([ValidHost]); it may have a port. It is "" only for HTTP/1.0 without Host.
	Host string
	// PathQuery is the target in the form to send to an origin server (RFC 9112, section 3.2.1): a path that begins with
	// "/", with its query; "*" of OPTIONS; "" of CONNECT.
	PathQuery string

	Body    Framing // NoBody, Length or Chunked
	Close   bool    // the connection does not persist after this exchange (RFC 9112, section 9.3)
	Expect  bool    // the client may wait for a 100 (Continue) before it sends its body: HTTP/1.1, and there is a body
	Upgrade bool    // Connection names "upgrade" and an Upgrade field is there, in HTTP/1.1 (RFC 9110, section 7.8)
}

// ParseRequest reads the head of a request. raw is one whole head as [HeadEnd] delimits it. Everything in r is
// overwritten; the array of r.Fields is used again, so that a good head whose fields fit in it costs no
// allocation. The error is an [*Error]; r then has what was read before it (Method and Target may serve a log).
func ParseRequest(raw string, r *Request) error {
	*r = Request{Fields: r.Fields[:0]}
	if err := r.parse(raw); err != nil {
		return err
	}
	return nil
}

func (r *Request) parse(raw string) *Error {
	if !wholeHead(raw) {
		return bad("a line ends with a bare LF, or the head is not whole")
	}
	i, err := r.parseLine(raw, emptyLines(raw))
	if err != nil {
		return err
	}
	var s section
	if r.Fields, err = readFields(raw, i, r.Fields, &s); err != nil {
		return err
	}
	if err := r.locate(&s); err != nil {
		return err
	}
	if r.Body, err = s.framing(r.Minor); err != nil {
		return err
	}
	r.Close = s.closes(r.Minor)
	if r.Minor == 0 {
		// RFC 9110, sections 7.8 and 10.1.1: Upgrade and Expect of HTTP/1.0 are ignored.
		return nil
	}
	if s.expectOther {
		return &Error{Status: 417, Reason: "Expect: not 100-continue"}
	}
	r.Expect = s.expect && !r.Body.Empty()
	r.Upgrade = s.upgrade && s.connUpgrade
	return nil
}

// parseLine reads the request line at i (RFC 9112, section 3) and returns where the next line begins.
func (r *Request) parseLine(raw string, i int) (int, *Error) {
	if i == len(raw) {
		return 0, bad("empty lines without a request")
	}
	end := span(raw, i, tokenByte)
	if end == i || raw[end] != ' ' {
		return 0, bad("method: " + badByte(raw[end], raw[min(end+1, len(raw)-1)]))
	}
	r.Method = raw[i:end]
	i = end + 1
	end = span(raw, i, targetByte)
	if end == i || raw[end] != ' ' {
		return 0, badTarget(raw[end], raw[min(end+1, len(raw)-1)])
	}
	r.Target = raw[i:end]
	i = end + 1
	const version = len("HTTP/1.1\r\n")
	switch line := raw[i:min(i+version, len(raw))]; {
	case line == "HTTP/1.1\r\n":
		r.Minor = 1
	case line == "HTTP/1.0\r\n":
	case isVersion(line):
		return 0, &Error{Status: 505, Reason: "version: neither HTTP/1.1 nor HTTP/1.0"}
	default:
		return 0, bad("version: not the HTTP-version that ends a request line")
	}
	return i + version, nil
}

// isVersion tells whether line is an HTTP-version (RFC 9112, section 2.3) and the end of the line.
func isVersion(line string) bool {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	return len(line) == len("HTTP/1.1\r\n") && line[:5] == "HTTP/" && digit(line[5]) && line[6] == '.' && digit(line[7]) &&
		line[8:] == "\r\n"
}

// badTarget is the error of a target that ends at c.
func badTarget(c, next byte) *Error {
	switch c {
	case '#':
		return bad("target: a fragment")
	case '\r':
		if next == '\n' {
			return bad("request line: no HTTP-version")
		}
	}
	return bad("target: " + badByte(c, next))
}

// locate reads the target (RFC 9112, section 3.2) beside the Host field: what the request is for.
func (r *Request) locate(s *section) *Error {
	// RFC 9112, section 3.2: exactly one valid Host in HTTP/1.1.
	switch {
	case s.hosts > 1:
		return bad("more than one Host")
	case s.hosts == 0 && r.Minor > 0:
		return bad("no Host")
	case s.hosts == 1 && !ValidHost(s.host):
		return bad("Host: not a host with an optional port")
	}
	r.Host = s.host
	switch {
	case r.Method == "CONNECT":
		return r.locateAuthority(s)
	case r.Target[0] == '/':
		r.PathQuery = r.Target
	case r.Target == "*":
		if r.Method != "OPTIONS" {
			return bad("target: \"*\" of a method other than OPTIONS")
		}
		r.PathQuery = r.Target
	default:
		if err := r.locateAbsolute(s); err != nil {
			return err
		}
	}
	if !validEscapes(r.PathQuery) {
		return bad("target: a percent sign without two hexadecimal digits")
	}
	return nil
}

// locateAuthority reads the target of CONNECT: host and port, which has no default (RFC 9110, section 9.3.6).
func (r *Request) locateAuthority(s *section) *Error {
	_, port := splitPort(r.Target)
	if !ValidHost(r.Target) || port == "" {
		return bad("target: of CONNECT, not a host with a port")
	}
	r.Host = r.Target
	if s.hosts == 1 && !sameAuthority(r.Target, s.host, port) {
		return bad("Host: not that of the target")
	}
	return nil
}

// locateAbsolute reads a target in absolute-form.
func (r *Request) locateAbsolute(s *section) *Error {
	scheme, rest, ok := strings.Cut(r.Target, "://")
	port := defaultPort(scheme)
	if !ok || port == "" {
		return bad("target: neither a path nor an absolute URI of http, https, ws or wss")
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	// RFC 9110, section 4.2.4: userinfo is no part of it, and an error.
	if !ValidHost(authority) {
		return bad("target: not a host with an optional port")
	}
	// RFC 9112, section 3.2: the client sends the same in Host. Where it does not, two readers would disagree.
	if s.hosts == 1 && !sameAuthority(authority, s.host, port) {
		return bad("Host: not that of the target")
	}
	r.Scheme, r.Host, r.PathQuery = scheme, authority, rest
	switch {
	case rest == "" && r.Method == "OPTIONS": // RFC 9112, section 3.2.4
		r.PathQuery = "*"
	case rest == "":
		r.PathQuery = "/"
	case rest[0] == '?':
		r.PathQuery = "/" + rest
	}
	return nil
}

// validEscapes tells whether each "%" in the path of a target begins a percent-encoding (RFC 3986, section 2.1). The
// query is not looked at: it is often not a well-formed one, and nothing is decided by it.
func validEscapes(pathQuery string) bool {
	i := strings.IndexByte(pathQuery, '%')
	if i < 0 {
		return true
	}
	path, _, _ := strings.Cut(pathQuery, "?")
	for ; i < len(path); i++ {
		if path[i] == '%' && (i+2 >= len(path) || classes[path[i+1]]&classes[path[i+2]]&hexByte == 0) {
			return false
		}
	}
	return true
}
