package websocket

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455, section 4.2.2 prescribes it; nothing is kept secret by it
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// Version is the only version of the protocol there is (RFC 6455, section 4.1).
const Version = "13"

// acceptGUID is appended to the key (RFC 6455, section 1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// NewKey returns a fresh Sec-WebSocket-Key: 16 random bytes in base64.
func NewKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// AcceptKey returns the Sec-WebSocket-Accept that proves that a server has read key.
func AcceptKey(key string) string { return string(AppendAcceptKey(nil, key)) }

// AppendAcceptKey appends AcceptKey to b.
func AppendAcceptKey(b []byte, key string) []byte {
	var buf [64]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...)) //nolint:gosec // see the import
	return base64.StdEncoding.AppendEncode(b, sum[:])
}

// A HandshakeError is a client's handshake that is refused, with the answer it gets.
type HandshakeError struct {
	Status int         // 400, 405 or 426
	Reason string      // fit for the client: it repeats nothing that the client sent
	Fields [][2]string // names and values to add to the answer, in order; may be nil
}

func (e *HandshakeError) Error() string { return "handshake: " + e.Reason }

func malformed(reason string) *HandshakeError {
	return &HandshakeError{Status: http.StatusBadRequest, Reason: reason}
}

// Fields are those of a head: they give the values of one name, whatever its case, in their order.
type Fields interface {
	Values(name string) []string
}

// A Request is what a client's handshake is judged by.
type Request struct {
	Method string
	HTTP11 bool // HTTP/1.1: a handshake cannot come in HTTP/1.0 or HTTP/2
	Body   bool // it has content, or a Transfer-Encoding
	Fields Fields
}

// An Offer is what a client's handshake asks for.
type Offer struct {
	Key       string   // Sec-WebSocket-Key
	Protocols []string // subprotocols in the client's order of preference
	Deflate   []string // its legal permessage-deflate elements in order; other extensions are left out
}

// IsUpgrade reports whether r wants to become a WebSocket. Requests for other protocols only, and requests of HTTP/1.0
// or HTTP/2, are ordinary ones (RFC 9110, section 7.8). The error is a *HandshakeError: `websocket` beside something
// else in Upgrade.
func IsUpgrade(r *Request) (bool, error) {
	if !r.HTTP11 {
		return false, nil
	}
	values := r.Fields.Values("Upgrade")
	if !hasToken(values, "websocket") {
		return false, nil
	}
	if len(values) != 1 || !equalFold(trim(values[0]), "websocket") {
		return false, malformed("Upgrade must be websocket alone")
	}
	return true, nil
}

// CheckRequest holds a client's handshake to RFC 6455, section 4.2.1. The error is a *HandshakeError.
func CheckRequest(r *Request) (*Offer, error) {
	if r.Method != http.MethodGet {
		return nil, &HandshakeError{
			Status: http.StatusMethodNotAllowed,
			Reason: "a WebSocket handshake is a GET",
			Fields: [][2]string{{"Allow", http.MethodGet}},
		}
	}
	if ok, err := IsUpgrade(r); err != nil {
		return nil, err
	} else if !ok {
		return nil, malformed("not a WebSocket handshake over HTTP/1.1")
	}
	if !hasToken(r.Fields.Values("Connection"), "upgrade") {
		return nil, malformed("Connection must contain upgrade")
	}
	// A body would be taken for frames by one side and for HTTP by the other: that is request smuggling.
	if r.Body {
		return nil, malformed("a WebSocket handshake has no body")
	}
	// RFC 6455, section 4.4: say which version we speak.
	if v := r.Fields.Values("Sec-WebSocket-Version"); len(v) != 1 || trim(v[0]) != Version {
		return nil, &HandshakeError{
			Status: http.StatusUpgradeRequired,
			Reason: "Sec-WebSocket-Version must be " + Version,
			// RFC 9110, section 15.5.22: a 426 names the protocol in Upgrade.
			Fields: [][2]string{{"Sec-WebSocket-Version", Version}, {"Upgrade", "websocket"}, {"Connection", "Upgrade"}},
		}
	}
	return readOffer(r.Fields)
}

// readOffer reads the fields that say what is asked for.
func readOffer(h Fields) (*Offer, error) {
	keys := h.Values("Sec-WebSocket-Key")
	if len(keys) != 1 || !validKey(trim(keys[0])) {
		return nil, malformed("Sec-WebSocket-Key must be one value, 16 bytes in base64")
	}
	o := &Offer{Key: trim(keys[0])}
	for _, v := range h.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(v, ",") {
			p = trim(p)
			if p == "" {
				continue // RFC 9110, section 5.6.1.2: empty elements are ignored
			}
			if !isToken(p) {
				return nil, malformed("Sec-WebSocket-Protocol must be a list of tokens")
			}
			// RFC 6455, section 4.1: all elements must be unique.
			if slices.Contains(o.Protocols, p) {
				return nil, malformed("Sec-WebSocket-Protocol names one protocol twice")
			}
			o.Protocols = append(o.Protocols, p)
		}
	}
	exts, ok := parseExtensions(h.Values("Sec-WebSocket-Extensions"))
	if !ok {
		return nil, malformed("Sec-WebSocket-Extensions is malformed")
	}
	for _, e := range exts {
		// RFC 7692, section 7.1: an offer with parameters that are not legal is to be declined.
		if _, ok := parseDeflate(e, true); ok {
			o.Deflate = append(o.Deflate, e.String())
		}
	}
	return o, nil
}

func validKey(key string) bool {
	var nonce [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == 16
}

// Offered is what a handshake that we sent asked for.
type Offered struct {
	Protocols []string
	Deflate   []string // permessage-deflate elements, as in Offer
}

// Agreed is what both ends of a session have agreed on.
type Agreed struct {
	Protocol   string // subprotocol, or empty
	Extensions string // value of Sec-WebSocket-Extensions, or empty; only ever one permessage-deflate element
}

// Deflate reports whether permessage-deflate was agreed, so that frames may carry RSV1.
func (a *Agreed) Deflate() bool { return a.Extensions != "" }

// A ResponseError is an answer to our handshake that does not agree to it.
type ResponseError struct {
	Status int    // of the answer
	Reason string // what is wrong with it; quotes nothing of the answer
}

func (e *ResponseError) Error() string { return "handshake answer: " + e.Reason }

// CheckResponse holds a server's answer to RFC 6455, section 4.1: key is the one we sent, o what we asked for. The error
// is a *ResponseError.
func CheckResponse(status int, h Fields, key string, o Offered) (*Agreed, error) {
	bad := func(reason string) (*Agreed, error) {
		return nil, &ResponseError{Status: status, Reason: reason}
	}
	if status != http.StatusSwitchingProtocols {
		return bad("status is not 101")
	}
	if v := h.Values("Upgrade"); len(v) != 1 || !equalFold(trim(v[0]), "websocket") {
		return bad("Upgrade is not websocket alone")
	}
	if !hasToken(h.Values("Connection"), "upgrade") {
		return bad("Connection does not contain upgrade")
	}
	var accept [32]byte
	if v := h.Values("Sec-WebSocket-Accept"); len(v) != 1 || trim(v[0]) != string(AppendAcceptKey(accept[:0], key)) {
		return bad("Sec-WebSocket-Accept does not answer the key")
	}
	a := new(Agreed)
	switch v := h.Values("Sec-WebSocket-Protocol"); {
	case len(v) > 1:
		return bad("Sec-WebSocket-Protocol is there twice")
	case len(v) == 1:
		if a.Protocol = trim(v[0]); !slices.Contains(o.Protocols, a.Protocol) {
			return bad("subprotocol was not offered")
		}
	}
	exts, ok := parseExtensions(h.Values("Sec-WebSocket-Extensions"))
	switch {
	case !ok:
		return bad("Sec-WebSocket-Extensions is malformed")
	case len(exts) == 0:
		return a, nil
	case len(exts) > 1 || exts[0].name != deflateName:
		return bad("extension was not offered")
	}
	if reason := checkDeflateAnswer(exts[0], o.Deflate); reason != "" {
		return bad(reason)
	}
	a.Extensions = exts[0].String()
	return a, nil
}
