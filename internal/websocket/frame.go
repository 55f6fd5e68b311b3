package websocket

import "encoding/binary"

// An Opcode says what a frame carries (RFC 6455, section 5.2).
type Opcode uint8

// The opcodes of RFC 6455. All others are reserved.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA
)

// Control reports whether frames of this opcode are control frames, which may stand between the fragments of a message.
func (op Opcode) Control() bool { return op&0x8 != 0 }

// MaxHeader is the most bytes a frame header may take.
const MaxHeader = 14

// The bits of the first two header bytes.
const (
	bitFin  = 0x80
	bitMask = 0x80
)

// The reserved bits of a frame, as they stand in Header.RSV.
const (
	RSV1 = 0x40 // permessage-deflate: the message is compressed (RFC 7692, section 6)
	RSV2 = 0x20
	RSV3 = 0x10
)

// A Header is a decoded frame header (RFC 6455, section 5.2).
type Header struct {
	Opcode Opcode
	Fin    bool
	RSV    byte // any of RSV1, RSV2, RSV3
	Masked bool
	Mask   [4]byte // if Masked
	Length int64   // of the payload, in bytes
}

// Append appends h in its shortest encoding.
func (h Header) Append(dst []byte) []byte {
	b0 := byte(h.Opcode&0x0F) | h.RSV&(RSV1|RSV2|RSV3)
	if h.Fin {
		b0 |= bitFin
	}
	var b1 byte
	if h.Masked {
		b1 = bitMask
	}
	switch {
	case h.Length <= 125:
		dst = append(dst, b0, b1|byte(h.Length))
	case h.Length <= 0xFFFF:
		dst = append(dst, b0, b1|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(h.Length))
	default:
		dst = append(dst, b0, b1|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

// ParseHeader reads one frame header from the start of p and returns the bytes it took; 0 with a nil error means that p
// is too short. Only what no extension could allow is an error here: ErrLength. A [Cursor] knows the other rules.
// A length that is not in its shortest form is accepted: it is harmless, and some peers send it.
func ParseHeader(p []byte) (h Header, n int, err error) {
	if len(p) < 2 {
		return h, 0, nil
	}
	n = headerSize(p[1])
	if len(p) < n {
		return h, 0, nil
	}
	h = Header{
		Opcode: Opcode(p[0] & 0x0F),
		Fin:    p[0]&bitFin != 0,
		RSV:    p[0] & (RSV1 | RSV2 | RSV3),
		Masked: p[1]&bitMask != 0,
	}
	length, ok := payloadLength(p)
	if !ok {
		return Header{}, 0, ErrLength
	}
	h.Length = length
	if h.Masked {
		h.Mask = [4]byte(p[n-4 : n])
	}
	return h, n, nil
}

// payloadLength reads the length of the payload from a whole header. It is not ok if its most significant bit is set
// (RFC 6455, section 5.2).
func payloadLength(header []byte) (n int64, ok bool) {
	switch l := header[1] &^ bitMask; l {
	case 126:
		return int64(binary.BigEndian.Uint16(header[2:])), true
	case 127:
		n = int64(binary.BigEndian.Uint64(header[2:]))
		return n, n >= 0
	default:
		return int64(l), true
	}
}

// headerSize is the size of a header in bytes, as its second byte tells.
func headerSize(b1 byte) int {
	n := 2
	switch b1 &^ bitMask {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b1&bitMask != 0 {
		n += 4
	}
	return n
}

// AppendFrame appends one whole frame. A nil mask sends it unmasked, as a server does; a client must mask with four
// random bytes. payload is not changed.
func AppendFrame(dst []byte, op Opcode, fin bool, mask *[4]byte, payload []byte) []byte {
	h := Header{Opcode: op, Fin: fin, Length: int64(len(payload))}
	if mask != nil {
		h.Masked, h.Mask = true, *mask
	}
	dst = h.Append(dst)
	start := len(dst)
	dst = append(dst, payload...)
	if mask != nil {
		Mask(dst[start:], *mask, 0)
	}
	return dst
}

// Mask masks or unmasks p in place; pos is the offset of p in its frame's payload (RFC 6455, section 5.3).
func Mask(p []byte, key [4]byte, pos int) {
	for i := range p {
		p[i] ^= key[(pos+i)&3]
	}
}

// AppendPayload appends the unmasked payload of one whole frame, as [AppendFrame] made it. A frame that is not whole
// gives nothing.
func AppendPayload(dst, frame []byte) []byte {
	h, n, err := ParseHeader(frame)
	if err != nil || n == 0 || int64(len(frame)-n) < h.Length {
		return dst
	}
	start := len(dst)
	dst = append(dst, frame[n:n+int(h.Length)]...)
	if h.Masked {
		Mask(dst[start:], h.Mask, 0)
	}
	return dst
}
