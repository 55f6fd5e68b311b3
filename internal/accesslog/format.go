package accesslog

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// appendJSON appends the record as one line of JSON. Strings without a value are left out.
func appendJSON(b []byte, r *Record) []byte {
	b = append(b, '{')
	b = appendTime(b, r.Time)
	b = str(b, "request_id", r.RequestID)
	b = str(b, "session_id", r.SessionID)
	b = str(b, "client", r.Client)
	b = str(b, "method", r.Method)
	b = str(b, "host", r.Host)
	b = str(b, "path", r.Path)
	if !r.carried() {
		b = num(b, "status", int64(r.Status))
	}
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendFloat(b, float64(r.Duration.Microseconds())/1000, 'f', 3, 64)
	b = str(b, "route", r.Route)
	b = str(b, "service", r.Service)
	b = str(b, "instance", r.Instance)
	b = str(b, "user", r.User)
	b = str(b, "subprotocol", r.Subprotocol)
	b = str(b, "protocol", r.Protocol)
	b = str(b, "tls_version", r.TLSVersion)
	b = str(b, "tls_cipher", r.TLSCipher)
	b = num(b, "bytes_in", r.BytesIn)
	b = num(b, "bytes_out", r.BytesOut)
	if r.Websocket {
		b = num(b, "messages_in", r.MessagesIn)
		b = num(b, "messages_out", r.MessagesOut)
		if r.CloseCode != 0 {
			b = num(b, "close_code", int64(r.CloseCode))
		}
		b = str(b, "close_reason", r.CloseReason)
		b = str(b, "closed_by", r.ClosedBy)
	}
	b = str(b, "cause", r.Cause)
	if r.Websocket {
		b = num(b, "moves", int64(r.Moves))
		b = num(b, "uncertain", int64(r.Uncertain))
	}
	return append(b, "}\n"...)
}

// appendTime appends the member time, the first of its object: ISO 8601, UTC, milliseconds.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, `"time":"`...)
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	return append(b, '"')
}

// str appends a member unless its value is empty. Keys are constants of this file.
func str(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return quote(name(b, key), value)
}

func num(b []byte, key string, value int64) []byte {
	return strconv.AppendInt(name(b, key), value, 10)
}

// name appends the name of a member, and the comma before it unless it is the first.
func name(b []byte, key string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, key...)
	return append(b, `":`...)
}

const hex = "0123456789abcdef"

// quote appends s as a JSON string. Control characters, DEL, the C1 set and the line
// separators are escaped, so that no terminal and no line reader can be misled; bytes that
// are no UTF-8 become U+FFFD.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < 0x20 || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case r <= 0xffff && misleads(r):
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}

// misleads tells whether a character above ASCII can end a line or change how the rest of it
// is shown: C1 controls, line separators, and the marks that turn the direction of writing.
func misleads(r rune) bool {
	return r <= 0x9f || 0x200e <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 || r == 0xfeff
}

// appendAGC appends the record as the access log of Application Gateway for Containers has
// it. Every property is a string, "-" when absent, as are those that Fairlead does not measure:
// backendResponseLatency, backendTimeTaken, frontendName and the sizes of heads. The last two,
// of sessions alone, are ours: messages from and to the client, and the close code.
func appendAGC(b []byte, r *Record) []byte {
	b = append(b, `{"category":"TrafficControllerAccessLog","operationName":"ReqRespLogs",`...)
	b = appendTime(b, r.Time)
	b = append(b, `,"properties":{`...)
	host, port := hostPort(r.Backend)
	_, frontend := hostPort(r.Host)
	b = prop(b, "backendHost", r.Backend)
	b = prop(b, "backendIp", host)
	b = prop(b, "backendPort", port)
	b = prop(b, "backendResponseLatency", "")
	b = prop(b, "backendTimeTaken", "")
	b = prop(b, "clientIp", r.Client)
	b = prop(b, "frontendName", "")
	b = prop(b, "frontendPort", frontend)
	b = prop(b, "hostName", r.Host)
	b = prop(b, "httpMethod", r.Method)
	if r.carried() {
		b = prop(b, "httpStatusCode", "")
	} else {
		b = propNum(b, "httpStatusCode", int64(r.Status))
	}
	b = prop(b, "httpVersion", r.Protocol)
	b = prop(b, "referer", r.Referrer)
	b = propNum(b, "requestBodyBytes", r.BytesIn)
	b = prop(b, "requestHeaderBytes", "")
	b = prop(b, "requestUri", r.Path)
	b = propNum(b, "responseBodyBytes", r.BytesOut)
	b = prop(b, "responseHeaderBytes", "")
	b = propNum(b, "timeTaken", r.Duration.Milliseconds())
	b = prop(b, "tlsCipher", r.TLSCipher)
	b = prop(b, "tlsProtocol", r.TLSVersion)
	b = prop(b, "trackingId", r.RequestID)
	b = prop(b, "userAgent", r.UserAgent)
	if r.Websocket {
		b = append(name(b, "webSocketMessages"), '"')
		b = strconv.AppendInt(b, r.MessagesIn, 10)
		b = append(b, '/')
		b = append(strconv.AppendInt(b, r.MessagesOut, 10), '"')
		if r.CloseCode == 0 {
			b = prop(b, "webSocketCloseCode", "")
		} else {
			b = propNum(b, "webSocketCloseCode", int64(r.CloseCode))
		}
	}
	return append(b, "}}\n"...)
}

func prop(b []byte, key, value string) []byte { return quote(name(b, key), dash(value)) }

func propNum(b []byte, key string, value int64) []byte {
	b = append(name(b, key), '"')
	return append(strconv.AppendInt(b, value, 10), '"')
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// hostPort splits an address; without a port all of it is host.
func hostPort(address string) (host, port string) {
	if !strings.Contains(address, ":") || strings.HasSuffix(address, "]") {
		return address, "" // common, and without the error that SplitHostPort would make
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		return host, port
	}
	return address, ""
}

// appendCommon appends the NCSA combined form: the common log with referrer and user agent.
func appendCommon(b []byte, r *Record) []byte {
	client, _ := hostPort(r.Client)
	b = append(b, word(dash(client))...)
	b = append(b, " - "...)
	b = append(b, word(dash(r.User))...)
	b = r.Time.AppendFormat(b, " [02/Jan/2006:15:04:05 -0700] ")
	if r.carried() {
		b = quote(b, dash(r.Method)+" "+dash(r.Path)+" "+r.Protocol)
	} else {
		b = quote(b, r.Method+" "+r.Path+" "+r.Protocol)
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	if r.BytesOut == 0 && r.Status != http.StatusOK {
		b = append(b, '-')
	} else {
		b = strconv.AppendInt(b, r.BytesOut, 10)
	}
	b = quote(append(b, ' '), dash(r.Referrer))
	b = quote(append(b, ' '), dash(r.UserAgent))
	return append(b, '\n')
}

// word keeps a field that has no quotes one word.
func word(s string) string {
	return strings.Map(func(c rune) rune {
		if c == ' ' || c == '"' || c == utf8.RuneError || !unicode.IsPrint(c) {
			return '_'
		}
		return c
	}, s)
}
