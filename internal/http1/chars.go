package http1

import "math/bits"

// Classes of bytes.
const (
	tokenByte  uint8 = 1 << iota // of a token: RFC 9110, section 5.6.2
	targetByte                   // that a request-target may have: visible ASCII but "#", and what is no ASCII, which servers agree on
	nameByte                     // of a host name: unreserved of RFC 3986, section 2.3
	hexByte                      // a hexadecimal digit
)

// classes has the classes of every byte.
var classes = makeClasses()

func makeClasses() (table [256]uint8) {
	for c := '!'; c <= '~'; c++ {
		table[c] = targetByte
	}
	for c := 0x80; c <= 0xFF; c++ {
		table[c] = targetByte
	}
	table['#'] = 0
	set := func(s string, class uint8) {
		for _, c := range s {
			table[c] |= class
		}
	}
	set("!#$%&'*+-.^_`|~", tokenByte)
	set("-._~", nameByte)
	set("0123456789", tokenByte|nameByte|hexByte)
	set("ABCDEFabcdef", tokenByte|nameByte|hexByte)
	set("GHIJKLMNOPQRSTUVWXYZghijklmnopqrstuvwxyz", tokenByte|nameByte)
	return table
}

// span returns the index of the first byte of s, from i on, that is not of class; len(s) if there is none.
func span(s string, i int, class uint8) int {
	for i < len(s) && classes[s[i]]&class != 0 {
		i++
	}
	return i
}

// isToken tells whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && span(s, 0, tokenByte) == len(s)
}

// Eight times the byte 0x01, 0x20, 0x7F, 0x80.
const (
	ones    = 0x0101010101010101
	spaces  = ones * 0x20
	deletes = ones * 0x7F
	highs   = ones * 0x80
)

// textEnd returns the index of the first byte of s, from i on, that no field value may have (RFC 9110, section 5.5): a
// control character other than HTAB. It returns len(s) if there is none. It looks at eight bytes at a time.
func textEnd(s string, i int) int {
	for len(s)-i >= 8 {
		t := s[i : i+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		// In each of the two sets the lowest bit that is set belongs to a byte that is below 0x20, or is 0x7F; those
		// above it may come from a borrow.
		x := w ^ deletes
		if hit := ((w-spaces)&^w)&highs | ((x - ones) &^ x & highs); hit != 0 {
			i += bits.TrailingZeros64(hit) / 8
			if s[i] != '\t' {
				return i
			}
			i++
			continue
		}
		i += 8
	}
	for i < len(s) && !control(s[i]) {
		i++
	}
	return i
}

// control tells whether no field value may have c.
func control(c byte) bool { return c < ' ' && c != '\t' || c == 0x7F }

// equalFold tells whether a and b are the same without regard to ASCII case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if x, y := a[i], b[i]; x != y && lower(x) != lower(y) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// trimSpace returns s without the SP and HTAB around it.
func trimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
