package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a token.
const (
	maxToken = 16 << 10 // bytes
	maxName  = 256      // bytes of a user's name, a kid, a jti
	maxDepth = 8        // of a required claim's name
)

// A token is what one says of itself before anything of it is believed.
type token struct {
	text     string // header.claims.signature
	alg, kid string
	claims   members
}

// members are those of a JSON object, by names letter by letter: encoding/json would take "EXP" for "exp".
type members map[string]json.RawMessage

var errNoJWT = errors.New("it is no JWT")

// readToken reads a JWT in its compact form (RFC 7515, section 7.1). It is stricter than it might be, so that no other reader takes
// the same text for something else: no padding, no stray bits, no member twice, no extension that has to be understood.
func readToken(text string) (*token, error) {
	if len(text) > maxToken {
		return nil, errors.New("it is too long")
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[2] == "" {
		return nil, errNoJWT
	}
	header, err := readPart(parts[0])
	if err != nil {
		return nil, err
	}
	t := &token{text: text}
	if t.claims, err = readPart(parts[1]); err != nil {
		return nil, err
	}
	if _, err := strict.DecodeString(parts[2]); err != nil {
		return nil, errNoJWT
	}
	if header["crit"] != nil || header["b64"] != nil {
		return nil, errors.New("its header has an extension")
	}
	var ok bool
	if t.alg, ok = header.text("alg"); !ok {
		return nil, errors.New("its header has no alg")
	}
	if header["kid"] != nil {
		if t.kid, ok = header.text("kid"); !ok {
			return nil, errors.New("its header has no text as kid")
		}
	}
	return t, nil
}

var strict = base64.RawURLEncoding.Strict()

// readPart reads an object in base64url.
func readPart(part string) (members, error) {
	if strings.ContainsAny(part, "\r\n") { // base64 passes over them
		return nil, errNoJWT
	}
	text, err := strict.DecodeString(part)
	if err != nil {
		return nil, errNoJWT
	}
	return readMembers(text)
}

// readMembers reads an object, of which no member may be there twice.
func readMembers(text []byte) (members, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errNoJWT
	}
	all := members{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errNoJWT
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errNoJWT
		}
		if _, twice := all[name.(string)]; twice {
			return nil, errors.New("it has a member twice")
		}
		all[name.(string)] = value
	}
	if _, err := d.Token(); err != nil || d.More() || d.InputOffset() != int64(len(bytes.TrimRight(text, " \t\r\n"))) {
		return nil, errNoJWT
	}
	return all, nil
}

// text is a member that is one; not empty, and short enough to be kept.
func (m members) text(name string) (s string, ok bool) {
	raw := m[name]
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil || s == "" || len(s) > maxName {
		return "", false
	}
	return s, printable(s)
}

// printable tells whether a name can stand in a log.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// list is a member that is a text, or a list of them.
func (m members) list(name string) []string {
	raw := m[name]
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var all []string
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}

// maxDate is the end of the year 9999, in seconds.
const maxDate = 253402300799

// date is a NumericDate, which may have a fraction. ok: it is there, and is one.
func (m members) date(name string) (at time.Time, ok bool) {
	var seconds float64
	if raw := m[name]; len(raw) == 0 || raw[0] == 'n' || json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

// holds tells whether the claim is, or holds, one of the values.
func (m members) holds(want *RequiredClaim) bool {
	raw := m.at(want.Name, maxDepth)
	if len(raw) == 0 || raw[0] == 'n' {
		return false
	}
	if len(want.Values) == 0 {
		return true
	}
	var list []json.RawMessage
	if raw[0] != '[' {
		list = []json.RawMessage{raw}
	} else if json.Unmarshal(raw, &list) != nil {
		return false
	}
	for _, item := range list {
		text := string(item)
		spaced := want.Name == "scope" || want.Name == "scp"
		var s string
		if json.Unmarshal(item, &s) == nil {
			text = s
		}
		for _, value := range want.Values {
			if text == value || spaced && containsWord(text, value) {
				return true
			}
		}
	}
	return false
}

func containsWord(text, word string) bool {
	for w := range strings.SplitSeq(text, " ") {
		if w == word && w != "" {
			return true
		}
	}
	return false
}

// at is the member of that name, or what a name with dots leads to.
func (m members) at(name string, depth int) json.RawMessage {
	if raw := m[name]; raw != nil || depth == 0 {
		return raw
	}
	for i := range len(name) {
		if name[i] != '.' || m[name[:i]] == nil {
			continue
		}
		if inner, err := readMembers(m[name[:i]]); err == nil {
			if raw := inner.at(name[i+1:], depth-1); raw != nil {
				return raw
			}
		}
	}
	return nil
}
