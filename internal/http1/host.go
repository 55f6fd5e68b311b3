package http1

import (
	"net/netip"
	"strconv"
	"strings"
)

// ValidHost tells whether s is the value of a Host field or the authority of a target, without userinfo (RFC 9110,
// section 7.2; RFC 3986, section 3.2): a name of letters, digits, "-", ".", "_" and "~", an IPv4 address or a bracketed IPv6
// address without zone; then optionally ":" and a port, which may be empty, up to 65535. It is not empty. Sub-delimiters and
// percent-encoding, which RFC 3986 would let a name have, are refused: no name in use has them, and readers differ on them.
func ValidHost(s string) bool {
	end := 0
	if s != "" && s[0] == '[' {
		end = strings.IndexByte(s, ']') + 1
		if end == 0 || !validIPv6(s[1:end-1]) {
			return false
		}
	} else if end = span(s, 0, nameByte); end == 0 {
		return false
	}
	return end == len(s) || s[end] == ':' && validPort(s[end+1:])
}

func validIPv6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// validPort tells whether s is empty or a decimal number up to 65535 of five digits at most.
func validPort(s string) bool {
	n := 0
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 || i >= 5 {
			return false
		}
		n = n*10 + int(d)
	}
	return n <= 65535
}

// splitPort splits a valid host into its name and its port, "" without one.
func splitPort(host string) (name, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || host[len(host)-1] == ']' {
		return host, ""
	}
	return host[:i], host[i+1:]
}

// sameAuthority tells whether two valid hosts are the same: the name without regard to case, the port by its number, with
// port where one has none (RFC 9110, section 4.2.3).
func sameAuthority(a, b, port string) bool {
	if a == b {
		return true
	}
	nameA, portA := splitPort(a)
	nameB, portB := splitPort(b)
	return equalFold(nameA, nameB) && portNumber(portA, port) == portNumber(portB, port)
}

func portNumber(s, otherwise string) int {
	if s == "" {
		s = otherwise
	}
	n, _ := strconv.Atoi(s) // digits only
	return n
}

// defaultPort returns the port of a scheme that a target may have, "" for another scheme. RFC 6455, section 3, gives ws and
// wss those of http and https.
func defaultPort(scheme string) string {
	switch {
	case equalFold(scheme, "http"), equalFold(scheme, "ws"):
		return "80"
	case equalFold(scheme, "https"), equalFold(scheme, "wss"):
		return "443"
	}
	return ""
}
