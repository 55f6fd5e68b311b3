package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A proxyHeader is what a load balancer says of the client before its first byte: the PROXY
// protocol, version 1 or 2 (haproxy.org, doc/proxy-protocol.txt).
type proxyHeader struct {
	// Source and Destination are the client's connection to the load balancer. They are not
	// valid where the load balancer speaks for itself (LOCAL, UNKNOWN) or of no TCP connection.
	Source, Destination netip.AddrPort
}

// Bounds of a PROXY header in bytes.
const (
	maxProxyV1   = 107           // with its CRLF, as the specification counts
	maxProxyV2   = 16 + 4096     // the rest is additions (TLV), which are passed over
	proxyV2Fixed = 16            // up to and with the length of the rest
	proxyV1Least = len("PROXY ") // tells version 1
)

// proxyV2Signature begins a header of version 2.
const proxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"

// errProxyHeader is what every error of parseProxyHeader wraps.
var errProxyHeader = errors.New("PROXY protocol")

func badProxyHeader(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errProxyHeader}, args...)...)
}

// parseProxyHeader reads the PROXY header at the start of p. n is its length. A more above zero
// means that p is only the beginning of one, and that at least so many bytes are still to come: who
// reads no more than that never reads into what follows the header.
func parseProxyHeader(p []byte) (h proxyHeader, n, more int, err error) {
	switch {
	case len(p) < proxyV1Least:
		if string(p) != "PROXY "[:len(p)] && string(p) != proxyV2Signature[:len(p)] {
			return h, 0, 0, badProxyHeader("no header")
		}
		return h, 0, proxyV1Least - len(p), nil
	case string(p[:proxyV1Least]) == "PROXY ":
		return parseProxyV1(p)
	default:
		return parseProxyV2(p)
	}
}

// parseProxyV1 reads "PROXY TCP4 source destination sourcePort destinationPort" CRLF.
func parseProxyV1(p []byte) (h proxyHeader, n, more int, err error) {
	end := bytes.IndexByte(p[:min(len(p), maxProxyV1)], '\n')
	switch {
	case end < 0 && len(p) >= maxProxyV1:
		return h, 0, 0, badProxyHeader("line longer than %d bytes", maxProxyV1)
	case end < 0 && p[len(p)-1] == '\r':
		return h, 0, 1, nil
	case end < 0:
		return h, 0, min(2, maxProxyV1-len(p)), nil
	case p[end-1] != '\r':
		return h, 0, 0, badProxyHeader("line without CR LF")
	}
	words := strings.Split(string(p[:end-1]), " ")
	if len(words) < 2 {
		return h, 0, 0, badProxyHeader("line of %d words", len(words))
	}
	switch words[1] {
	case "UNKNOWN": // whatever follows counts for nothing
		return h, end + 1, 0, nil
	case "TCP4", "TCP6":
	default:
		return h, 0, 0, badProxyHeader("unknown transport")
	}
	if len(words) != 6 {
		return h, 0, 0, badProxyHeader("line of %d words, want 6", len(words))
	}
	for i, to := range []*netip.AddrPort{&h.Source, &h.Destination} {
		addr, err := netip.ParseAddr(words[2+i])
		if err != nil || addr.Is4() != (words[1] == "TCP4") || addr.Zone() != "" {
			return proxyHeader{}, 0, 0, badProxyHeader("bad address")
		}
		port, err := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != words[4+i] {
			return proxyHeader{}, 0, 0, badProxyHeader("bad port")
		}
		*to = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return h, end + 1, 0, nil
}

// parseProxyV2 reads the binary header.
func parseProxyV2(p []byte) (h proxyHeader, n, more int, err error) {
	if k := min(len(p), len(proxyV2Signature)); string(p[:k]) != proxyV2Signature[:k] {
		return h, 0, 0, badProxyHeader("no header")
	}
	if len(p) < proxyV2Fixed {
		return h, 0, proxyV2Fixed - len(p), nil
	}
	version, command, family := p[12]>>4, p[12]&15, p[13]
	n = proxyV2Fixed + int(binary.BigEndian.Uint16(p[14:]))
	switch {
	case version != 2:
		return h, 0, 0, badProxyHeader("version %d", version)
	case command > 1:
		return h, 0, 0, badProxyHeader("unknown command")
	case n > maxProxyV2:
		return h, 0, 0, badProxyHeader("header longer than %d bytes", maxProxyV2)
	case len(p) < n:
		return h, 0, n - len(p), nil
	}
	rest, size := p[proxyV2Fixed:n], 0
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	}
	if command == 0 || size == 0 { // LOCAL, or of a transport that we do not serve: the load balancer's own connection
		return h, n, 0, nil
	}
	if len(rest) < 2*size+4 {
		return h, 0, 0, badProxyHeader("addresses cut off")
	}
	ports := rest[2*size:]
	source, _ := netip.AddrFromSlice(rest[:size])
	destination, _ := netip.AddrFromSlice(rest[size : 2*size])
	h.Source = netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports))
	h.Destination = netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:]))
	return h, n, 0, nil
}

// readProxyHeader reads a PROXY header from r and not one byte more. The caller has set a deadline.
func readProxyHeader(r io.Reader) (proxyHeader, error) {
	buf := make([]byte, 0, maxProxyV1)
	for {
		h, _, more, err := parseProxyHeader(buf)
		if err != nil || more == 0 {
			return h, err
		}
		have := len(buf)
		buf = append(buf, make([]byte, more)...)
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return proxyHeader{}, fmt.Errorf("%w: header not complete: %w", errProxyHeader, err)
		}
	}
}
