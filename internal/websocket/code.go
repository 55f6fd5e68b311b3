package websocket

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Code is the status code of a Close frame (RFC 6455, section 7.4). The zero Code means that no Close was seen.
type Code uint16

// The registered codes. NoStatus and Abnormal stand for something that was not on the wire and are never sent.
const (
	Normal             Code = 1000
	GoingAway          Code = 1001
	ProtocolError      Code = 1002
	Unsupported        Code = 1003
	NoStatus           Code = 1005 // a Close frame without payload
	Abnormal           Code = 1006 // no Close frame at all
	InvalidPayload     Code = 1007
	Policy             Code = 1008
	TooBig             Code = 1009
	MandatoryExtension Code = 1010
	Internal           Code = 1011
	ServiceRestart     Code = 1012
	TryAgain           Code = 1013
	BadGateway         Code = 1014
)

const (
	// MaxControl is the most payload a control frame may carry, in bytes (RFC 6455, section 5.5).
	MaxControl = 125
	// MaxReason is the most a close reason may take, in bytes of UTF-8: a control payload less the code.
	MaxReason = MaxControl - 2
)

// Valid reports whether c may stand in a Close frame on the wire (RFC 6455, section 7.4; the codes 1012 to 1014 are
// IANA's).
func (c Code) Valid() bool {
	switch {
	case c >= Normal && c <= Unsupported:
		return true
	case c >= InvalidPayload && c <= BadGateway:
		return true
	default:
		return c >= 3000 && c <= 4999
	}
}

// Reason makes s fit to be the reason of a Close frame: valid UTF-8 of at most MaxReason bytes, cut on a rune boundary
// and then ended by "...". Invalid bytes become U+FFFD, control characters a space.
func Reason(s string) string {
	// Nothing beyond the first MaxReason+utf8.UTFMax bytes can survive: do not copy a reason of megabytes.
	long := len(s) > MaxReason
	if cut := MaxReason + utf8.UTFMax; len(s) > cut {
		for k := cut; cut-k < utf8.UTFMax; k-- {
			if utf8.RuneStart(s[k]) {
				cut = k
				break
			}
		}
		s = s[:cut]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r // an invalid byte arrives here as utf8.RuneError and is written as U+FFFD
	}, s)
	if !long && len(s) <= MaxReason {
		return s
	}
	end := MaxReason - len("...")
	if len(s) < end {
		end = len(s)
	}
	for end > 0 && end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// AppendClose appends a Close frame. With NoStatus (or 0) its payload is empty; any other code is sent as given, and
// reason goes through [Reason]. A nil mask sends it unmasked, as a server does.
func AppendClose(dst []byte, mask *[4]byte, code Code, reason string) []byte {
	if code == NoStatus || code == 0 {
		return AppendFrame(dst, OpClose, true, mask, nil)
	}
	var buf [MaxControl]byte
	payload := binary.BigEndian.AppendUint16(buf[:0], uint16(code))
	payload = append(payload, Reason(reason)...)
	return AppendFrame(dst, OpClose, true, mask, payload)
}

// ParseClose reads the unmasked payload of a Close frame. An empty payload is NoStatus. The error is ErrCloseLength,
// ErrCloseCode or ErrCloseReason (RFC 6455, sections 5.5.1, 7.4 and 8.1).
func ParseClose(payload []byte) (Code, string, error) {
	if len(payload) == 0 {
		return NoStatus, "", nil
	}
	if len(payload) == 1 {
		return 0, "", ErrCloseLength
	}
	code := Code(binary.BigEndian.Uint16(payload))
	if !code.Valid() {
		return 0, "", ErrCloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", ErrCloseReason
	}
	return code, string(payload[2:]), nil
}
