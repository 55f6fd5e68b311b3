package websocket

import "strings"

// A session that may go on at another server must not depend on what the first one has decompressed or compressed before: with
// context takeover (RFC 7692, section 7.1.1) a message refers to messages before it.

// OfferWithoutContext is the offer that a gateway makes in place of a client's: each element asks for server_no_context_takeover,
// and stands behind that once more as it came, for a server that cannot do it. What that one sends stands for itself all the same:
// its messages refer to its own alone.
func OfferWithoutContext(offer []string) []string {
	exts, ok := parseExtensions(offer)
	if !ok {
		return nil // nobody could be offered what is malformed
	}
	var out []string
	for _, e := range exts {
		d, ok := parseDeflate(e, true)
		if !ok {
			continue
		}
		if !d.serverNoContext {
			without := extension{e.name, append([]param{{name: "server_no_context_takeover"}}, e.params...)}
			out = append(out, without.String())
		}
		out = append(out, e.String())
	}
	return out
}

// WithoutContext is the value of Sec-WebSocket-Extensions for the client of a session that may go on at another server: what was
// agreed, and that the client's messages must stand for themselves, which a client has to respect whatever it has offered (RFC
// 7692, section 7.1.1.2). Empty: there is no extension.
func (a *Agreed) WithoutContext() string {
	exts, ok := parseExtensions([]string{a.Extensions})
	if !ok || len(exts) != 1 {
		return a.Extensions
	}
	if d, _ := parseDeflate(exts[0], false); d.clientNoContext {
		return a.Extensions
	}
	return strings.TrimSpace(a.Extensions) + "; client_no_context_takeover"
}

// Continues says what keeps a client that agreed on a, with its messages standing for themselves, from going on at a server that
// has answered next when it was offered just a; "" is nothing.
func (a *Agreed) Continues(next *Agreed) string {
	switch {
	case a.Protocol != next.Protocol:
		return "another subprotocol"
	case a.Deflate() != next.Deflate():
		return "other extensions"
	case !a.Deflate():
		return ""
	}
	was, now := a.deflate(), next.deflate()
	// That next is a legal answer to a bounds what the server may send. What the client sends may reach as far back as it was told.
	if now.clientWindow != 0 && now.clientWindow != was.clientWindow {
		return "other parameters of permessage-deflate"
	}
	return ""
}

func (a *Agreed) deflate() (d deflate) {
	if exts, ok := parseExtensions([]string{a.Extensions}); ok && len(exts) == 1 {
		d, _ = parseDeflate(exts[0], false)
	}
	return d
}
