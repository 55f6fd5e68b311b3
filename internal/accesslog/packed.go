package accesslog

import (
	"encoding/binary"
	"time"
)

// Packed is what is known of a session at its opening, in one piece of memory: a session
// keeps it for hours, and a Record with its strings takes three times as much.
type Packed string

// Pack packs the record as far as it is known at the opening, and more, a string of the caller's.
func Pack(r *Record, more string) Packed {
	size := 2 * binary.MaxVarintLen64
	fields := r.opening(&more)
	for _, f := range fields {
		size += len(*f) + binary.MaxVarintLen32
	}
	b := make([]byte, 0, size)
	b = binary.AppendVarint(b, r.Time.UnixNano())
	b = binary.AppendVarint(b, int64(r.Status))
	for _, f := range fields {
		b = binary.AppendUvarint(b, uint64(len(*f)))
		b = append(b, *f...)
	}
	return Packed(b)
}

// Unpack gives back what was packed. The strings are parts of p: nothing is copied.
func (p Packed) Unpack() (r Record, more string) {
	at, n := binary.Varint([]byte(p[:min(len(p), binary.MaxVarintLen64)]))
	r.Time, p = time.Unix(0, at), p[n:]
	status, n := binary.Varint([]byte(p[:min(len(p), binary.MaxVarintLen64)]))
	r.Status, p = int(status), p[n:]
	r.Websocket = true
	for _, f := range r.opening(&more) {
		size, n := binary.Uvarint([]byte(p[:min(len(p), binary.MaxVarintLen64)]))
		p = p[n:]
		*f, p = string(p[:size]), p[size:]
	}
	return r, more
}

// opening are the strings of a session that are known when it opens.
func (r *Record) opening(more *string) [18]*string {
	return [...]*string{
		&r.RequestID, &r.SessionID, &r.Client, &r.Method, &r.Host, &r.Path, &r.Protocol, &r.Route, &r.Service, &r.Instance,
		&r.Backend, &r.User, &r.TLSVersion, &r.TLSCipher, &r.UserAgent, &r.Referrer, &r.Subprotocol, more,
	}
}
