package proxy

import (
	"errors"
	"io"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// maxHello bounds what is read of a TLS connection to find its server name, in bytes.
const maxHello = 16 << 10

var (
	errHelloTooLarge = errors.New("TLS ClientHello: larger than 16 KiB")
	errNoHello       = errors.New("TLS ClientHello: there is none that can be read")
)

// readHello reads until the server name of a TLS connection is known, and returns all that it has read: the hello, and
// perhaps what follows it. errNoHello is for TLS to answer. The caller has set a deadline.
func readHello(r io.Reader) (read []byte, name string, err error) {
	read = make([]byte, 0, 2048)
	for {
		if len(read) == cap(read) {
			read = append(make([]byte, 0, 2*cap(read)), read...)
		}
		n, failed := r.Read(read[len(read):cap(read)])
		read = read[:len(read)+n]
		name, more, err := serverName(read)
		switch {
		case err != nil || !more:
			return read, name, err
		case failed != nil:
			return read, "", failed
		case len(read) >= maxHello:
			return read, "", errHelloTooLarge
		}
	}
}

// Numbers of TLS (RFC 8446, sections 4 and 5.1; RFC 6066, section 3).
const (
	recordHandshake     = 22
	handshakeHello      = 1
	extensionServerName = 0
	nameTypeHost        = 0
	maxRecord           = 16 << 10
)

// serverName reads the name of the server that is asked for out of the ClientHello at the start of p, in lower case; "" if it
// names none. more: p is only the beginning of it. The error is errNoHello.
func serverName(p []byte) (name string, more bool, err error) {
	message, more, err := helloMessage(p)
	if more || err != nil {
		return "", more, err
	}
	var session, suites, compressions, extensions cryptobyte.String
	hello := cryptobyte.String(message)
	if !hello.Skip(2+32) || !hello.ReadUint8LengthPrefixed(&session) || !hello.ReadUint16LengthPrefixed(&suites) ||
		!hello.ReadUint8LengthPrefixed(&compressions) {
		return "", false, errNoHello
	}
	if hello.Empty() {
		return "", false, nil
	}
	if !hello.ReadUint16LengthPrefixed(&extensions) || !hello.Empty() {
		return "", false, errNoHello
	}
	named := false
	for !extensions.Empty() {
		var kind uint16
		var body cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&body) {
			return "", false, errNoHello
		}
		if kind == extensionServerName {
			var ok bool
			if name, ok = hostName(body); !ok || named { // RFC 8446, section 4.2: one of a kind
				return "", false, errNoHello
			}
			named = true
		}
	}
	return name, false, nil
}

// helloMessage puts the ClientHello together from its records, without its header.
func helloMessage(p []byte) (message []byte, more bool, err error) {
	records := cryptobyte.String(p)
	for {
		var kind uint8
		var version, size uint16
		if !records.ReadUint8(&kind) {
			return nil, true, nil
		}
		if kind != recordHandshake {
			return nil, false, errNoHello
		}
		if !records.ReadUint16(&version) || !records.ReadUint16(&size) {
			return nil, true, nil
		}
		if version >= 0x1000 || size == 0 || size > maxRecord { // as crypto/tls: the version of a record says little
			return nil, false, errNoHello
		}
		part := []byte(records[:min(int(size), len(records))])
		if message == nil {
			message = part[:len(part):len(part)] // nearly always all of it: nothing is copied
		} else {
			message = append(message, part...)
		}
		if len(message) > 0 && message[0] != handshakeHello {
			return nil, false, errNoHello
		}
		if len(message) >= 4 {
			length := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
			switch {
			case length > maxHello:
				return nil, false, errHelloTooLarge
			case len(message) >= 4+length:
				return message[4 : 4+length], false, nil
			}
		}
		if !records.Skip(int(size)) {
			return nil, true, nil
		}
	}
}

// hostName is the host name in the body of a server_name extension; "" if it has only names of other kinds.
func hostName(body cryptobyte.String) (name string, ok bool) {
	var list cryptobyte.String
	if !body.ReadUint16LengthPrefixed(&list) || list.Empty() || !body.Empty() {
		return "", false
	}
	for !list.Empty() {
		var kind uint8
		var value cryptobyte.String
		if !list.ReadUint8(&kind) || !list.ReadUint16LengthPrefixed(&value) || value.Empty() {
			return "", false
		}
		if kind != nameTypeHost {
			continue
		}
		if name != "" || strings.HasSuffix(string(value), ".") {
			return "", false
		}
		name = strings.ToLower(string(value))
	}
	return name, true
}
