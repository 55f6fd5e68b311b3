package http1

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
	panic("http1: not written yet")
}
