package proxy

import (
	"bytes"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// edits change the fields of a request or an answer one after the other.
type edits []*route.HeaderEdit

// editable tells whether a rule may change a field: not what concerns a connection or the framing (RFC 9110, section
// 7.6.1), not the Host, nothing of a WebSocket's handshake, and nothing that only the gateway says.
func editable(name string) bool {
	switch kindOf(name) {
	case fieldConnection, fieldHop, fieldUpgrade, fieldTE, fieldTrailer, fieldContentLength, fieldTransferEncoding, fieldExpect, fieldHost,
		fieldRequestID, fieldHopChain, fieldReserved:
		return false
	}
	return !isWebSocketField(name)
}

// replace tells whether an edit takes a field of that name away.
func (e edits) replace(name string) bool {
	for _, edit := range e {
		if replaces(edit, name) {
			return editable(name)
		}
	}
	return false
}

func replaces(e *route.HeaderEdit, name string) bool {
	for i := range e.Set {
		if strings.EqualFold(e.Set[i].Name, name) {
			return true
		}
	}
	return removes(e, name)
}

func removes(e *route.HeaderEdit, name string) bool {
	for _, n := range e.Remove {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// append appends what the edits add to b. The fields before it are those that they do not replace.
func (e edits) append(b []byte) []byte {
	for i, edit := range e {
		for _, list := range [2][]route.HeaderValue{edit.Set, edit.Add} {
			for _, f := range list {
				if !removes(edit, f.Name) && !e[i+1:].replace(f.Name) && editable(f.Name) {
					b = http1.AppendField(b, f.Name, f.Value)
				}
			}
		}
	}
	return b
}

// apply makes the edits in fields, in place where there is room.
func (e edits) apply(fields http1.Fields) http1.Fields {
	for _, edit := range e {
		for _, f := range edit.Set {
			if editable(f.Name) {
				fields.Set(f.Name, f.Value)
			}
		}
		for _, f := range edit.Add {
			if editable(f.Name) {
				fields.Add(f.Name, f.Value)
			}
		}
		for _, name := range edit.Remove {
			if editable(name) {
				fields.Del(name)
			}
		}
	}
	return fields
}

// edited makes the rule's edits in the fields of an answer.
func (x *exchange) edited(fields http1.Fields) http1.Fields { return x.to.answers.apply(fields) }

// appendForwardEdited is appendForward without what the edits replace.
func (x *exchange) appendForwardEdited(b []byte, to *forwards) []byte {
	start := len(b)
	b = x.appendForward(b, to.prefix)
	kept := start
	for rest := b[start:]; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		line := rest[:end]
		if name, _, _ := bytes.Cut(line, []byte(":")); !to.edits.replace(string(name)) {
			kept += copy(b[kept:], line)
		}
		rest = rest[end:]
	}
	return b[:kept]
}
