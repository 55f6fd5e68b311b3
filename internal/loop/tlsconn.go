package loop

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"reflect"
	"unsafe"
)

// This file is all that touches the inside of a tls.Conn. selfTest exercises it at the start of an Engine; if that fails,
// TLS is pumped.
//
// What is relied upon, beside the fields:
//   - Read of a tls.Conn hands an error of its connection back as it is, and goes on after it, if it is a net.Error with
//     Temporary. A part of a record that came before stays in rawInput.
//   - After a Read that ended with such an error, rawInput holds nothing but the start of one record, and nothing else
//     refers to its memory.

// errNotNow is what a tls.Conn is told when its socket has nothing more.
var errNotNow error = notNow{}

type notNow struct{}

func (notNow) Error() string   { return "nothing to read now" }
func (notNow) Timeout() bool   { return true }
func (notNow) Temporary() bool { return true }

// A layout is where the two buffers are in a tls.Conn.
type layout struct {
	rawInput uintptr // ciphertext that has been read and not decrypted
	hand     uintptr // handshake messages
}

func findLayout() (layout, error) {
	var l layout
	for name, at := range map[string]*uintptr{"rawInput": &l.rawInput, "hand": &l.hand} {
		f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
		if !ok || f.Type != reflect.TypeFor[bytes.Buffer]() {
			return layout{}, fmt.Errorf("tls.Conn has no %s as it was", name)
		}
		*at = f.Offset
	}
	return l, nil
}

func bufferAt(c *tls.Conn, offset uintptr) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), offset))
}

// lean has c keep nothing of its handshake that it does not need.
func (l layout) lean(c *tls.Conn) {
	if hand := bufferAt(c, l.hand); hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
	if raw := bufferAt(c, l.rawInput); raw.Len() == 0 {
		*raw = bytes.Buffer{}
	}
}

// lend has c read into buf, whose size is large enough for what it holds already.
func (l layout) lend(c *tls.Conn, buf []byte) {
	raw := bufferAt(c, l.rawInput)
	n := copy(buf, raw.Bytes())
	*raw = *bytes.NewBuffer(buf[:n])
}

// takeBack ends lend: what is left, the start of a record, moves to memory from keep.
func (l layout) takeBack(c *tls.Conn, keep func(n int) []byte) {
	raw := bufferAt(c, l.rawInput)
	if raw.Len() == 0 {
		*raw = bytes.Buffer{}
		return
	}
	rest := keep(raw.Len())
	*raw = *bytes.NewBuffer(rest[:copy(rest, raw.Bytes())])
}

// waiting is how many bytes of ciphertext c holds.
func (l layout) waiting(c *tls.Conn) int { return bufferAt(c, l.rawInput).Len() }
