package accesslog

import (
	"encoding/binary"
	"time"
	"unique"

	"github.com/google/uuid"
)

// Packed is what is known of a session at its opening: a session keeps it for hours, and a Record with its strings takes
// several times as much. The zero Packed is an empty Record's.
type Packed struct {
	place unique.Handle[place]
	rest  string
}

// A place is what many sessions have in common. The gateway, its routes and its services say it, no client: so there are few.
type place struct {
	status                                       int
	protocol, tlsVersion, tlsCipher, subprotocol string
	route, service, instance, backend            string
}

// Pack packs the record as far as it is known at the opening, and more, a string of the caller's.
func Pack(r *Record, more string) Packed {
	b := make([]byte, 0, 256) // on the stack, if it does
	b = binary.AppendVarint(b, r.Time.UnixNano())
	for _, f := range r.own() {
		b = appendField(b, *f)
	}
	// Where a service is called under much the same path as the gateway, the common end is kept once.
	n := commonEnd(r.Path, more)
	b = binary.AppendUvarint(b, uint64(n))
	b = appendField(b, more[:len(more)-n])
	return Packed{place: unique.Make(place{
		r.Status, r.Protocol, r.TLSVersion, r.TLSCipher, r.Subprotocol, r.Route, r.Service, r.Instance, r.Backend,
	}), rest: string(b)}
}

// Began is the Record's Time, without unpacking the rest. The zero Packed gives the zero Unix time.
func (p Packed) Began() time.Time {
	began, _ := binary.Varint([]byte(p.rest[:min(len(p.rest), binary.MaxVarintLen64)]))
	return time.Unix(0, began)
}

// Unpack gives back what was packed.
func (p Packed) Unpack() (r Record, more string) {
	more = p.UnpackTo(&r)
	return r, more
}

// UnpackTo is Unpack into r, whatever that is.
func (p Packed) UnpackTo(r *Record) (more string) {
	*r = Record{Websocket: true}
	if p == (Packed{}) {
		return ""
	}
	at := p.place.Value()
	r.Status, r.Protocol, r.TLSVersion, r.TLSCipher, r.Subprotocol = at.status, at.protocol, at.tlsVersion, at.tlsCipher, at.subprotocol
	r.Route, r.Service, r.Instance, r.Backend = at.route, at.service, at.instance, at.backend
	u := unpacker(p.rest)
	began, n := binary.Varint(u.number())
	r.Time, u = time.Unix(0, began), u[n:]
	for _, f := range r.own() {
		*f = u.field()
	}
	end := u.uvarint()
	return u.field() + r.Path[len(r.Path)-int(end):]
}

// own are the strings that each session has for itself.
func (r *Record) own() [9]*string {
	return [...]*string{&r.RequestID, &r.SessionID, &r.Client, &r.Method, &r.Host, &r.Path, &r.User, &r.UserAgent, &r.Referrer}
}

// A field is its length, doubled, and its bytes. An id is asUUID and 16 bytes.
const asUUID = 1

func appendField(b []byte, s string) []byte {
	if id, ok := parseUUID(s); ok {
		return append(append(b, asUUID), id[:]...)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))<<1), s...)
}

// parseUUID reads an id in the one spelling that comes back from it.
func parseUUID(s string) (id uuid.UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	at := 0
	for i := 0; i < len(s); i += 2 {
		if s[i] == '-' {
			i++
		}
		high, low := fromHex(s[i]), fromHex(s[i+1])
		if high|low > 15 {
			return id, false
		}
		id[at] = high<<4 | low
		at++
	}
	return id, true
}

// fromHex is the value of a digit, 255 for anything else.
func fromHex(c byte) byte {
	if d := c - '0'; d <= 9 {
		return d
	}
	if d := c - 'a'; d < 6 {
		return d + 10
	}
	return 255
}

// An unpacker is what is not unpacked yet. Strings are parts of it: nothing is copied but ids.
type unpacker string

func (u *unpacker) number() []byte { return []byte((*u)[:min(len(*u), binary.MaxVarintLen64)]) }

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.number())
	*u = (*u)[n:]
	return v
}

func (u *unpacker) field() string {
	size := u.uvarint()
	if size == asUUID {
		id := uuid.UUID([]byte(u.cut(16)))
		return id.String()
	}
	return u.cut(int(size >> 1))
}

func (u *unpacker) cut(n int) string {
	s := (*u)[:n]
	*u = (*u)[n:]
	return string(s)
}

// commonEnd is how many bytes a and b end in alike.
func commonEnd(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
