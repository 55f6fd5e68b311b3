package proxy

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/http1"
)

// maxKeptHead bounds the head of a handshake that is kept for a move, in bytes as it was sent.
const maxKeptHead = 16 << 10

// A keptHead is the handshake of a session as a service was sent it, for a service that is to go on with it: packed, without what
// is made anew, and without what the session keeps elsewhere. "" is none. Credentials are in it where the service was sent them.
type keptHead string

// keepHead packs head, which a service has agreed to. ownHost: its Host is not the endpoint's.
func keepHead(head []byte, rec *accesslog.Record, extensions string, ownHost bool) keptHead {
	b := make([]byte, 0, 512) // on the stack, if it does
	line, rest := cutLine(head)
	_, line, _ = bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(line, []byte(" "))
	b = packText(b, target)
	b = packText(b, []byte(extensions))
	for len(rest) > 2 {
		line, rest = cutLine(rest)
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		known := headNames[string(name)]
		switch {
		case known.plain:
		case known.gone, made(string(name), string(value), rec, ownHost):
			continue
		}
		switch {
		case known.agent && string(value) == rec.UserAgent:
			b = append(b, sameAgent)
			continue
		case known.code > 0:
			b = append(b, known.code)
		default:
			b = packText(append(b, 0), name)
		}
		b = packText(b, value)
	}
	return keptHead(b)
}

// made tells whether a field is made anew at a move.
func made(name, value string, rec *accesslog.Record, ownHost bool) bool {
	switch kindOf(name) {
	case fieldHost:
		return !ownHost
	case fieldConnection, fieldUpgrade:
		return true
	case fieldHandshake:
		return isWebSocketField(name)
	case fieldRequestID:
		return value == rec.RequestID
	case fieldReserved:
		return value == rec.SessionID && strings.EqualFold(name, "Fairlead-Session-Id")
	}
	return false
}

// cutLine returns the first line of b without its CRLF, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexByte(b, '\n')
	if end < 1 {
		return b, nil // it is a head of our own: this does not happen
	}
	return b[:end-1], b[end+1:]
}

func packText(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A resumption is what is said anew at a move.
type resumption struct {
	host    string // of the endpoint
	key     string
	resumed int // moves with this one
}

// append appends the head for the next endpoint, and returns the extensions that it offers. rec is what is known of the session's
// opening.
func (h keptHead) append(b []byte, rec *accesslog.Record, q *resumption) (head []byte, extensions string) {
	u := unpacking(h)
	b = append(append(append(b, "GET "...), u.text()...), " HTTP/1.1\r\n"...)
	if extensions = u.text(); extensions != "" {
		b = http1.AppendField(b, "Sec-WebSocket-Extensions", extensions)
	}
	if rec.Subprotocol != "" {
		b = http1.AppendField(b, "Sec-WebSocket-Protocol", rec.Subprotocol)
	}
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"...)
	b = http1.AppendField(b, "Sec-WebSocket-Key", q.key)
	host := false
	for len(u) > 0 {
		code := u[0]
		u = u[1:]
		switch code {
		case sameAgent:
			b = http1.AppendField(b, "User-Agent", rec.UserAgent)
			continue
		case 0:
			name := u.text()
			b = http1.AppendField(b, name, u.text())
		default:
			host = host || commonNames[code-1] == "Host"
			b = http1.AppendField(b, commonNames[code-1], u.text())
		}
	}
	if !host {
		b = http1.AppendField(b, "Host", q.host)
	}
	b = http1.AppendField(b, "X-Request-Id", rec.RequestID)
	b = http1.AppendField(b, "Fairlead-Session-Id", rec.SessionID)
	b = append(strconv.AppendInt(append(b, "Fairlead-Session-Resumed: "...), int64(q.resumed), 10), "\r\n"...)
	return append(b, "\r\n"...), extensions
}

// unpacking is what of a keptHead is not read yet.
type unpacking string

func (u *unpacking) text() string {
	n, size := binary.Uvarint([]byte((*u)[:min(len(*u), binary.MaxVarintLen64)]))
	s := (*u)[size : size+int(n)]
	*u = (*u)[size+int(n):]
	return string(s)
}

// sameAgent stands for the User-Agent that the session's record has.
const sameAgent = 0xff

// commonNames are names of fields that handshakes have, as their clients and this gateway spell them. A packed head has their
// place, from 1.
var commonNames = [...]string{
	"Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Origin", "Cookie", "Authorization", "Referer",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "Fairlead-Hop",
	"X-Request-Id", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "DNT", "Priority", "Sec-GPC", "X-Real-Ip", "Via", "Traceparent",
	"Tracestate", "traceparent", "tracestate", "accept", "accept-encoding", "accept-language", "origin", "cookie", "authorization", "user-agent",
	"X-Requested-With", "X-Client-Id", "X-Api-Key", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform",
}

// A headName is what is known of a name as it is spelt.
type headName struct {
	code  byte // its place in commonNames, from 1; 0: none
	plain bool // its fields are never made anew
	gone  bool // its fields are always made anew
	agent bool // User-Agent
}

var headNames = func() map[string]headName {
	m := make(map[string]headName, len(commonNames)+8)
	for i, name := range commonNames {
		kind := kindOf(name)
		judged := kind == fieldHost || kind == fieldRequestID
		m[name] = headName{code: byte(i + 1), plain: !judged, agent: name == "User-Agent"}
	}
	for _, name := range []string{
		"Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions",
	} {
		m[name] = headName{gone: true}
	}
	return m
}()
