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
	panic("http1: not written yet")
}
