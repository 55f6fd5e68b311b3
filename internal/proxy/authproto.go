package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// The messages of envoy.service.auth.v3.Authorization, as much of them as is said and heeded here. Numbers are those of its
// fields; see the protocol buffers of Envoy's API.

// authMethod is the call.
const authMethod = "/envoy.service.auth.v3.Authorization/Check"

// askGRPC makes q the question over gRPC.
func (x *exchange) askGRPC(q *subrequest, a *route.ExternalAuth, body []byte) {
	message := x.checkRequest(a, body)
	q.h2, q.method, q.target, q.host = true, http.MethodPost, authMethod, ""
	q.body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	q.fields = append(q.fields, "Content-Type: application/grpc\r\nTE: trailers\r\nGrpc-Timeout: "...)
	q.fields = append(strconv.AppendInt(q.fields, authTimeout.Milliseconds(), 10), "m\r\n"...)
	q.fields = x.appendIDs(q.fields)
}

// checkRequest is a CheckRequest.
func (x *exchange) checkRequest(a *route.ExternalAuth, body []byte) []byte {
	var h []byte // HttpRequest
	h = appendText(h, 1, x.record.RequestID)
	h = appendText(h, 2, x.request.Method)
	for _, f := range x.toldOf(a.AllowedHeaders) {
		h = appendBytes(h, 3, appendText(appendText(nil, 1, f.Name), 2, f.Value))
	}
	h = appendText(h, 4, x.path+x.query)
	h = appendText(h, 5, x.origin.host)
	h = appendText(h, 6, x.origin.proto)
	size := int64(-1)
	if x.kept.whole {
		size = int64(len(x.kept.content))
	} else if f := x.request.Body; f.Kind == http1.Length || f.Empty() {
		size = f.Length
	}
	h = appendNumber(h, 9, uint64(size))
	h = appendText(h, 10, strings.Replace(x.record.Protocol, "HTTP/2.0", "HTTP/2", 1))
	if utf8.Valid(body) {
		h = appendBytes(h, 11, body)
	} else { // a string has to be UTF-8
		h = appendBytes(h, 12, body)
	}

	var m []byte // AttributeContext
	source := x.origin.peer
	if source.Addr() != x.origin.addr { // behind a proxy: its port is another's
		source = netip.AddrPortFrom(x.origin.addr, 0)
	}
	m = appendBytes(m, 1, peerMessage(source))
	if local, ok := x.conn.conn.LocalAddr().(*net.TCPAddr); ok {
		m = appendBytes(m, 2, peerMessage(local.AddrPort()))
	}
	m = appendBytes(m, 4, appendBytes(appendBytes(nil, 1, appendNumber(nil, 1, uint64(x.record.Time.Unix()))), 2, h))
	return appendBytes(nil, 1, m)
}

// peerMessage is a Peer, with an Address that is a SocketAddress.
func peerMessage(at netip.AddrPort) []byte {
	socket := appendNumber(appendText(nil, 2, at.Addr().Unmap().String()), 3, uint64(at.Port()))
	return appendBytes(nil, 1, appendBytes(nil, 1, socket))
}

// toldOf are the request's fields, one for each name in lower case, with the values joined; listed empty: all.
func (x *exchange) toldOf(listed []string) http1.Fields {
	var fields http1.Fields
	vouched := x.vouched()
	vouched.Add("X-Request-Id", x.record.RequestID)
	for _, f := range vouched {
		name := strings.ToLower(f.Name)
		if fields.Has(name) || len(listed) > 0 && !names(listed, name) {
			continue
		}
		separator := ","
		if name == "cookie" {
			separator = "; "
		}
		fields.Add(name, strings.Join(vouched.Values(name), separator))
	}
	return fields
}

// heedGRPC does what a CheckResponse says.
func (x *exchange) heedGRPC(a *route.ExternalAuth, answer *subanswer) (*grant, error) {
	code := answer.trailers.Get("Grpc-Status")
	if code == "" {
		code = answer.fields.Get("Grpc-Status")
	}
	b := answer.body
	whole := !answer.cut && len(b) >= 5 && b[0] == 0 && int64(binary.BigEndian.Uint32(b[1:5])) == int64(len(b)-5)
	if answer.status != http.StatusOK || code != "0" || !whole {
		return nil, undecided(a, fmt.Errorf("answer %d, grpc-status %q", answer.status, code))
	}
	v, err := parseCheck(b[5:])
	switch {
	case err != nil:
		return nil, undecided(a, err)
	case !v.refuses && v.code == 0:
		return v.granted(x), nil
	case !v.refuses:
		return nil, notAuthorized(a, http.StatusForbidden, "status "+strconv.FormatUint(v.code, 10))
	}
	return nil, denied(a, v.denied())
}

var errProto = errors.New("the message is no protocol buffer")

// eachField calls f with each field of a message: n of a varint, p of what has a length.
func eachField(b []byte, f func(number int, n uint64, p []byte) error) error {
	for len(b) > 0 {
		key, size := binary.Uvarint(b)
		if size <= 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
			return errProto
		}
		b = b[size:]
		var n uint64
		var p []byte
		switch key & 7 {
		case 0:
			if n, size = binary.Uvarint(b); size <= 0 {
				return errProto
			}
		case 1:
			size = 8
		case 2:
			length, at := binary.Uvarint(b)
			if at <= 0 || length > uint64(len(b)-at) {
				return errProto
			}
			size = at + int(length)
			p = b[at:size]
		case 5:
			size = 4
		default:
			return errProto
		}
		if size > len(b) {
			return errProto
		}
		b = b[size:]
		if err := f(int(key>>3), n, p); err != nil {
			return err
		}
	}
	return nil
}

// appendNumber appends a varint field; 0 is not said.
func appendNumber(b []byte, number int, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(number)<<3), n)
}

// appendBytes appends a field with a length; "" is not said.
func appendBytes(b []byte, number int, p []byte) []byte {
	if len(p) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

// appendText is appendBytes of a string, which has to be UTF-8.
func appendText(b []byte, number int, s string) []byte {
	return appendBytes(b, number, []byte(strings.ToValidUTF8(s, "\uFFFD")))
}
