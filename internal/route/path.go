package route

import "strings"

// PathError says why a path is refused, whatever it would lead to. The answer is status 400.
type PathError struct {
	// Reason is a short constant text, fit for the client and the log: it holds no part of the path.
	Reason string
}

// Error is "path: reason".
func (e *PathError) Error() string { return "path: " + e.Reason }

// CheckPath judges the raw path of a request, before it is matched, as received and without the
// query. It refuses what the gateway and a service could read in two ways: dot segments in any
// spelling (also with parameters, and between encoded slashes), backslashes, raw or encoded
// control bytes, raw spaces, "#", "?", and escapes that are none (RFC 3986, section 2.1). What
// it accepts may go to a service byte for byte. A non-nil error is a *PathError.
func CheckPath(rawPath string) error {
	if rawPath == "" || rawPath[0] != '/' {
		return &PathError{"it does not begin with a slash"}
	}
	var seg segment
	for i := 0; i < len(rawPath); i++ {
		c := rawPath[i]
		switch {
		case c == '/':
			if seg.isDots() {
				return &PathError{"dot segment"}
			}
			seg = segment{}
			continue
		case c == '#' || c == '?':
			return &PathError{"'#' or '?' in it"}
		case c == ' ':
			return &PathError{"space in it"}
		case c == '%':
			var ok bool
			if c, ok = unescape(rawPath, i); !ok {
				return &PathError{"malformed percent-escape"}
			}
			i += 2
		}
		switch {
		case c < 0x20 || c == 0x7f:
			return &PathError{"control byte"}
		case c == '\\':
			return &PathError{"backslash"}
		case c == '/': // encoded: many services decode it, so it may end a dot segment
			if seg.isDots() {
				return &PathError{"dot segment"}
			}
			seg = segment{}
		default:
			seg.add(c)
		}
	}
	if seg.isDots() {
		return &PathError{"dot segment"}
	}
	return nil
}

// OtherReading is rawPath, which CheckPath has accepted, as many services read it: parameters (";" and what follows in a segment) cut
// off, "%2F" taken for a slash, slashes in a row for one. other: that is another path.
func OtherReading(rawPath string) (path string, other bool) {
	if strings.IndexByte(rawPath, ';') < 0 && strings.IndexByte(rawPath, '%') < 0 && !strings.Contains(rawPath, "//") {
		return rawPath, false
	}
	b := make([]byte, 0, len(rawPath))
	parameter := false
	for i := 0; i < len(rawPath); i++ {
		c, raw := rawPath[i], rawPath[i:i+1]
		if c == '%' {
			if decoded, ok := unescape(rawPath, i); ok {
				c, raw = decoded, rawPath[i:i+3]
				i += 2
			}
		}
		switch {
		case c == '/':
			if parameter = false; len(b) == 0 || b[len(b)-1] != '/' {
				b = append(b, '/')
			}
		case c == ';' || parameter:
			parameter = true
		default:
			b = append(b, raw...)
		}
	}
	return string(b), string(b) != rawPath
}

// segment knows of a path segment only whether it is a dot segment, parameters aside.
type segment struct {
	dots  int
	other bool // a byte that is no dot
	ended bool // by ";": what follows are parameters, which many services cut off
}

func (s *segment) add(c byte) {
	switch {
	case s.ended:
	case c == ';':
		s.ended = true
	case c == '.':
		s.dots++
	default:
		s.other = true
	}
}

func (s *segment) isDots() bool { return !s.other && (s.dots == 1 || s.dots == 2) }

// unescape decodes the escape at s[i], which is '%'.
func unescape(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, lo := unhex(s[i+1]), unhex(s[i+2])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendCanonical appends the byte or escape at s[i] in its one canonical spelling, and returns
// how many bytes of s it took. Escaped unreserved characters are decoded (RFC 3986, section
// 6.2.2.2), other escapes get capital digits, bytes that a path may not hold as they are get
// escaped. So an encoded slash stays "%2F" and equals no slash. It appends at most 3 bytes.
func appendCanonical(dst []byte, s string, i int) ([]byte, int) {
	c := s[i]
	if c != '%' {
		if isPathByte(c) {
			return append(dst, c), 1
		}
		return appendEscape(dst, c), 1
	}
	c, ok := unescape(s, i)
	if !ok {
		return append(dst, "%25"...), 1
	}
	if isUnreserved(c) {
		return append(dst, c), 3
	}
	return appendEscape(dst, c), 3
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// isUnreserved is RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// isPathByte is "pchar" of RFC 3986, section 3.3, without escapes, and the slash.
func isPathByte(c byte) bool {
	if isUnreserved(c) {
		return true
	}
	switch c {
	case '/', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', ':', '@':
		return true
	}
	return false
}

// canonicalPrefix is the spelling of a whole prefix under which the table keeps it: canonical
// bytes, and no trailing slash, so that "/" is "".
func canonicalPrefix(prefix string) string {
	for len(prefix) > 0 && prefix[len(prefix)-1] == '/' {
		prefix = prefix[:len(prefix)-1]
	}
	var b []byte
	for i := 0; i < len(prefix); {
		var n int
		b, n = appendCanonical(b, prefix, i)
		i += n
	}
	return string(b)
}
