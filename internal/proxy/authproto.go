package proxy

import (
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

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
	} else if x.request.Body.Kind == http1.Length {
		size = x.request.Body.Length
	}
	h = appendNumber(h, 9, uint64(size))
	h = appendText(h, 10, strings.Replace(x.record.Protocol, "HTTP/2.0", "HTTP/2", 1))
	h = appendBytes(h, 12, body)

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
	for _, f := range x.request.Fields {
		name := strings.ToLower(f.Name)
		if fields.Has(name) || len(listed) > 0 && !names(listed, name) || kindOf(name) == fieldHopChain || kindOf(name) == fieldReserved {
			continue
		}
		separator := ","
		if name == "cookie" {
			separator = "; "
		}
		fields.Add(name, strings.Join(x.request.Fields.Values(name), separator))
	}
	return fields
}

// heedGRPC does what a CheckResponse says.
func (x *exchange) heedGRPC(answer *subanswer) error {
	code := answer.trailers.Get("Grpc-Status")
	if code == "" {
		code = answer.fields.Get("Grpc-Status")
	}
	b := answer.body
	if answer.status != http.StatusOK || code != "0" || answer.cut || len(b) < 5 || b[0] != 0 || int64(binary.BigEndian.Uint32(b[1:5])) != int64(len(b)-5) {
		return notAuthorized(http.StatusServiceUnavailable, "answer "+strconv.Itoa(answer.status)+", grpc-status "+strconv.Quote(code))
	}
	v, err := parseCheck(b[5:])
	if err != nil {
		return notAuthorized(http.StatusServiceUnavailable, err.Error())
	}
	if v.code != 0 {
		if v.status < 300 || v.status > 599 {
			v.status = http.StatusForbidden
		}
		return x.denied(v.status, editedBy(&v.set), &subanswer{body: v.body})
	}
	x.to.edits = append(x.to.edits, &v.set)
	x.to.answers = append(x.to.answers, &v.answer)
	return nil
}

// editedBy are the fields that an edit makes of none.
func editedBy(e *route.HeaderEdit) http1.Fields { return edits{e}.apply(nil) }

// A verdict is a CheckResponse.
type verdict struct {
	code   uint64           // of google.rpc.Status; 0: it may pass
	status int              // of the answer to the client, if it may not
	body   []byte           // likewise
	set    route.HeaderEdit // of the request, or of that answer
	answer route.HeaderEdit // of the backend's answer
}

// parseCheck reads a CheckResponse.
func parseCheck(b []byte) (*verdict, error) {
	v := new(verdict)
	err := eachField(b, func(number int, n uint64, p []byte) error {
		switch number {
		case 1: // google.rpc.Status
			return eachField(p, func(number int, n uint64, _ []byte) error {
				if number == 1 {
					v.code = n
				}
				return nil
			})
		case 2: // DeniedHttpResponse
			return eachField(p, v.denial)
		case 3: // OkHttpResponse
			return eachField(p, v.grant)
		}
		return nil
	})
	return v, err
}

func (v *verdict) denial(number int, _ uint64, p []byte) error {
	switch number {
	case 1: // HttpStatus
		return eachField(p, func(number int, n uint64, _ []byte) error {
			if number == 1 {
				v.status = int(min(n, 1000))
			}
			return nil
		})
	case 2:
		return headerOption(p, &v.set)
	case 3:
		v.body = p
	}
	return nil
}

func (v *verdict) grant(number int, _ uint64, p []byte) error {
	switch number {
	case 2:
		return headerOption(p, &v.set)
	case 5:
		v.set.Remove = append(v.set.Remove, string(p))
	case 6:
		return headerOption(p, &v.answer)
	}
	return nil
}

// headerOption reads a HeaderValueOption: a field that is set, or added if it says so.
func headerOption(b []byte, to *route.HeaderEdit) error {
	var f route.HeaderValue
	add := false
	err := eachField(b, func(number int, n uint64, p []byte) error {
		switch number {
		case 1: // HeaderValue
			return eachField(p, func(number int, _ uint64, p []byte) error {
				switch number {
				case 1:
					f.Name = string(p)
				case 2, 3: // as text, or raw
					f.Value = string(p)
				}
				return nil
			})
		case 2: // append: google.protobuf.BoolValue
			return eachField(p, func(number int, n uint64, _ []byte) error {
				add = add || number == 1 && n != 0
				return nil
			})
		}
		return nil
	})
	if add {
		to.Add = append(to.Add, f)
	} else {
		to.Set = append(to.Set, f)
	}
	return err
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
