package http1

import "strings"

// A section is what the field lines of a head say about the message itself, as far as reading them one by one tells it.
type section struct {
	hosts int
	host  string // the last Host

	lengths int   // Content-Length fields: one at most
	length  int64 // the one
	codings codings

	connClose, connKeepAlive, connUpgrade bool // tokens of Connection
	upgrade                               bool // an Upgrade field is there
	expect                                bool // Expect: 100-continue
	expectOther                           bool // another Expect
	badTrailer                            bool // Trailer announces a field of framing
}

// codings is what the Transfer-Encoding fields say.
type codings struct {
	present bool
	chunked bool // the last one so far is chunked
	unknown bool // one that is not chunked
	broken  bool // not a list of codings, or chunked twice or before another
}

// readFields reads the field lines of raw from i to the empty line that must end it, and appends them to fields. s gets
// what they say; it is nil for a trailer section, which says nothing. raw ends as [wholeHead] says.
func readFields(raw string, i int, fields Fields, s *section) (Fields, *Error) {
	for {
		if raw[i] == '\r' && raw[i+1] == '\n' {
			if i+2 != len(raw) {
				return fields, bad("bytes behind the head")
			}
			return fields, nil
		}
		colon := span(raw, i, tokenByte)
		// RFC 9112, section 5.1: no whitespace before the colon. Section 5.2: no line folding.
		if colon == i || raw[colon] != ':' {
			return fields, badName(raw, i, colon)
		}
		start := colon + 1
		for raw[start] == ' ' || raw[start] == '\t' {
			start++
		}
		next := textEnd(raw, start)
		if raw[next] != '\r' || raw[next+1] != '\n' {
			return fields, bad("field value: " + badByte(raw[next], 0))
		}
		end := next
		for end > start && (raw[end-1] == ' ' || raw[end-1] == '\t') {
			end--
		}
		if len(fields) >= MaxFields {
			return fields, &Error{Status: 431, Reason: "too many fields"}
		}
		f := Field{Name: raw[i:colon], Value: raw[start:end]}
		fields = append(fields, f)
		if s != nil {
			if err := s.note(f); err != nil {
				return fields, err
			}
		}
		i = next + 2
	}
}

// badName is the error of a field line at i whose name ends at end, but without a colon.
func badName(raw string, i, end int) *Error {
	c := raw[end]
	switch {
	case end == i && (c == ' ' || c == '\t'):
		return bad("field line: starts with whitespace (line folding)")
	case end == i && c == ':':
		return bad("field name: empty")
	case c == ' ' || c == '\t':
		return bad("field name: whitespace before the colon")
	case c == '\r' && raw[end+1] == '\n':
		return bad("field line: no colon")
	}
	return bad("field name: " + badByte(c, 0))
}

// note keeps what f says about the message.
func (s *section) note(f Field) *Error {
	switch len(f.Name) {
	case len("Host"):
		if equalFold(f.Name, "Host") {
			s.hosts++
			s.host = f.Value
		}
	case len("Expect"):
		if equalFold(f.Name, "Expect") {
			// RFC 9110, section 10.1.1: the only expectation there is.
			s.expect = true
			s.expectOther = s.expectOther || !equalFold(f.Value, "100-continue")
		}
	case len("Upgrade"):
		switch {
		case equalFold(f.Name, "Upgrade"):
			s.upgrade = true
		case equalFold(f.Name, "Trailer"):
			s.noteTrailer(f.Value)
		}
	case len("Connection"):
		if equalFold(f.Name, "Connection") {
			s.noteConnection(f.Value)
		}
	case len("Content-Length"):
		if equalFold(f.Name, "Content-Length") {
			return s.noteLength(f.Value)
		}
	case len("Transfer-Encoding"):
		if equalFold(f.Name, "Transfer-Encoding") {
			s.codings.note(f.Value)
		}
	}
	return nil
}

// noteConnection keeps the options of RFC 9110, section 7.6.1, that http1 acts on.
func (s *section) noteConnection(value string) {
	for more := true; more; {
		var option string
		option, value, more = strings.Cut(value, ",")
		option = trimSpace(option)
		switch {
		case equalFold(option, "close"):
			s.connClose = true
		case equalFold(option, "keep-alive"):
			s.connKeepAlive = true
		case equalFold(option, "upgrade"):
			s.connUpgrade = true
		}
	}
}

// noteTrailer watches for what RFC 9110, section 6.5.1, forbids to announce.
func (s *section) noteTrailer(value string) {
	for more := true; more; {
		var name string
		name, value, more = strings.Cut(value, ",")
		name = trimSpace(name)
		s.badTrailer = s.badTrailer || equalFold(name, "Content-Length") || equalFold(name, "Transfer-Encoding") ||
			equalFold(name, "Trailer")
	}
}

// noteLength reads a Content-Length. RFC 9110, section 8.6, lets a recipient take a list of one and the same length for that
// length, or refuse it: this one refuses.
func (s *section) noteLength(value string) *Error {
	if s.lengths++; s.lengths > 1 {
		return bad("more than one Content-Length")
	}
	if value == "" {
		return bad("Content-Length: empty")
	}
	n := uint64(0)
	for i := range len(value) {
		d := value[i] - '0'
		if d > 9 {
			return bad("Content-Length: not a decimal number")
		}
		if n = n*10 + uint64(d); n > 1<<63-1 || i >= 19 {
			return bad("Content-Length: too large")
		}
	}
	s.length = int64(n)
	return nil
}

// note reads one Transfer-Encoding field (RFC 9112, section 6.1). Empty elements, and parameters of chunked, are
// refused: readers differ on them.
func (c *codings) note(value string) {
	c.present = true
	for more := true; more; {
		var coding string
		coding, value, more = strings.Cut(value, ",")
		coding = trimSpace(coding)
		if c.chunked {
			c.broken = true
		}
		if equalFold(coding, "chunked") {
			c.chunked = true
			continue
		}
		c.unknown = true
		name, _, _ := strings.Cut(coding, ";")
		name = trimSpace(name)
		if !isToken(name) || equalFold(name, "chunked") {
			c.broken = true
		}
	}
}

// framing holds the framing fields to RFC 9112, sections 6.1 to 6.3. Without any of them the Kind is NoBody.
func (s *section) framing(minor int) (Framing, *Error) {
	switch {
	case s.codings.present && s.lengths > 0:
		return Framing{}, bad("Content-Length beside Transfer-Encoding")
	case s.codings.present && minor == 0:
		return Framing{}, bad("Transfer-Encoding in HTTP/1.0")
	case s.codings.broken:
		return Framing{}, bad("Transfer-Encoding: chunked is not once and last")
	case s.codings.unknown:
		return Framing{}, &Error{Status: 501, Reason: "Transfer-Encoding: unknown coding"}
	case s.codings.present && s.badTrailer:
		return Framing{}, bad("Trailer announces a field of framing")
	case s.codings.present:
		return Framing{Kind: Chunked}, nil
	case s.lengths > 0:
		return Framing{Kind: Length, Length: s.length}, nil
	}
	return Framing{}, nil
}

// closes tells whether the connection ends with the message (RFC 9112, section 9.3).
func (s *section) closes(minor int) bool {
	return s.connClose || minor == 0 && !s.connKeepAlive
}
