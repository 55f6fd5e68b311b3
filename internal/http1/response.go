package http1

// A Response is the head of a response, and what follows from it. All strings are substrings of the head.
type Response struct {
	Minor  int    // HTTP/1.Minor: 0 or 1
	Status int    // 100 to 999
	Reason string // the reason phrase as it came; may be empty
	Fields Fields // every field line as it came

	Body  Framing // any Kind
	Close bool    // the connection does not persist after this response
}

// ParseResponse reads the head of a response to a request with that method, which decides together with the status whether
// there is a body (RFC 9112, section 6.3): HEAD, 1xx, 204, 304 and 2xx to CONNECT have none, whatever their fields say. raw
// is one whole head as [HeadEnd] delimits it. Everything in r is overwritten; the array of r.Fields is used
// again. The error is an [*Error] with status 502.
//
// An interim response (1xx) is a response of its own: the final one follows it. After a 101 the connection speaks what
// was agreed.
func ParseResponse(raw, method string, r *Response) error {
	*r = Response{Fields: r.Fields[:0]}
	if err := r.parse(raw, method); err != nil {
		err.Status = 502
		return err
	}
	return nil
}

func (r *Response) parse(raw, method string) *Error {
	if !wholeHead(raw) {
		return bad("a line ends with a bare LF, or the head is not whole")
	}
	i, err := r.parseLine(raw)
	if err != nil {
		return err
	}
	var s section
	if r.Fields, err = readFields(raw, i, r.Fields, &s); err != nil {
		return err
	}
	if r.Body, err = s.framing(r.Minor); err != nil {
		return err
	}
	r.Close = s.closes(r.Minor)
	switch {
	case bodyless(r.Status, method):
		r.Body = Framing{}
	case r.Body.Kind == NoBody:
		r.Body.Kind = UntilClose
		r.Close = true
	}
	return nil
}

// bodyless tells whether a response has no body, whatever its fields say: RFC 9112, section 6.3, rules 1 and 2.
func bodyless(status int, method string) bool {
	switch {
	case method == "HEAD", status < 200, status == 204, status == 304:
		return true
	}
	return method == "CONNECT" && status < 300
}

// parseLine reads the status line (RFC 9112, section 4) and returns where the next line begins. The reason phrase may be
// empty, and then the space before it may be missing: several servers send that.
func (r *Response) parseLine(raw string) (int, *Error) {
	const start = len("HTTP/1.1 200")
	if len(raw) < start+2 {
		return 0, bad("status line: too short")
	}
	switch raw[:9] {
	case "HTTP/1.1 ":
		r.Minor = 1
	case "HTTP/1.0 ":
	default:
		return 0, bad("version: neither HTTP/1.1 nor HTTP/1.0")
	}
	for i := 9; i < start; i++ {
		d := raw[i] - '0'
		if d > 9 {
			return 0, bad("status: not three digits")
		}
		r.Status = r.Status*10 + int(d)
	}
	if r.Status < 100 {
		return 0, bad("status: below 100")
	}
	i := start
	if raw[i] == ' ' {
		i++
	} else if raw[i] != '\r' {
		return 0, bad("status: not three digits and a space")
	}
	end := textEnd(raw, i)
	if raw[end] != '\r' || raw[end+1] != '\n' {
		return 0, bad("reason phrase: " + badByte(raw[end], 0))
	}
	r.Reason = raw[i:end]
	return end + 2, nil
}
