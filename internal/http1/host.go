package http1

// ValidHost tells whether s is the value of a Host field or the authority of a target, without userinfo (RFC 9110,
// section 7.2; RFC 3986, section 3.2): a name of letters, digits, "-", ".", "_" and "~", an IPv4 address or a bracketed IPv6
// address without zone; then optionally ":" and a port, which may be empty, up to 65535. Sub-delimiters and percent-encoding,
// which RFC 3986 would let a name have, are refused: no name in use has them, and readers differ on them.
func ValidHost(s string) bool {
	panic("http1: not written yet")
}
