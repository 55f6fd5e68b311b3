// Package accesslog writes one line per finished request or session. A Record is handed to
// Logger.Log, which never blocks; one goroutine formats and writes.
package accesslog

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Record is what is known of a request or session at its end. Strings come from clients
// and services as they are: formats escape them.
type Record struct {
	Time      time.Time     // when it began
	Duration  time.Duration // until its end
	RequestID string
	SessionID string // of a session
	Client    string // ip:port, or an address that a trusted proxy named
	Method    string
	Host      string
	Path      string // path and query, redacted by RedactTarget
	Status    int    // HTTP; 101 for a session
	Protocol  string // HTTP/1.1, HTTP/2.0

	Route    string
	Service  string
	Instance string
	Backend  string // host:port of the endpoint; agc format only
	User     string

	TLSVersion string
	TLSCipher  string
	UserAgent  string // agc and common formats only
	Referrer   string // likewise, redacted

	BytesIn  int64 // from the client: a request's body, a session's frames
	BytesOut int64

	Websocket   bool // a session, or a handshake that was answered 101 and closed; the rest is for it alone
	Subprotocol string
	MessagesIn  int64
	MessagesOut int64
	CloseCode   int // 0: none was seen
	CloseReason string
	ClosedBy    string // client, upstream, gateway
	Cause       string // also of a request that failed
	Moves       int
	Uncertain   int
}

// Formats by name.
const (
	FormatJSON   = "json"
	FormatAGC    = "agc"
	FormatCommon = "common"
)

// appendJSON appends the record as one line of JSON, keys in DESIGN's order.
func appendJSON(b []byte, r *Record) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, '"')
	b = str(b, "request_id", r.RequestID)
	b = str(b, "session_id", r.SessionID)
	b = str(b, "client", r.Client)
	b = str(b, "method", r.Method)
	b = str(b, "host", r.Host)
	b = str(b, "path", r.Path)
	b = num(b, "status", int64(r.Status))
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

// str appends a member unless its value is empty. Keys are constants of this file.
func str(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	return quote(b, value)
}

func num(b []byte, key string, value int64) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	return strconv.AppendInt(b, value, 10)
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
		case r <= 0x9f || r == 0x2028 || r == 0x2029:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}

// agcLine is the access log of Application Gateway for Containers; every property is a
// string, "-" when absent.
type agcLine struct {
	Category   string        `json:"category"`
	Operation  string        `json:"operationName"`
	Time       string        `json:"time"`
	Properties agcProperties `json:"properties"`
}

type agcProperties struct {
	BackendHost     string `json:"backendHost"`
	BackendIP       string `json:"backendIp"`
	BackendPort     string `json:"backendPort"`
	BackendTime     string `json:"backendTimeTaken"`
	ClientIP        string `json:"clientIp"`
	FrontendPort    string `json:"frontendPort"`
	HostName        string `json:"hostName"`
	Method          string `json:"httpMethod"`
	Status          string `json:"httpStatusCode"`
	Version         string `json:"httpVersion"`
	Referer         string `json:"referer"`
	RequestBody     string `json:"requestBodyBytes"`
	RequestURI      string `json:"requestUri"`
	ResponseBody    string `json:"responseBodyBytes"`
	TimeTaken       string `json:"timeTaken"`
	TLSCipher       string `json:"tlsCipher"`
	TLSProtocol     string `json:"tlsProtocol"`
	TrackingID      string `json:"trackingId"`
	UserAgent       string `json:"userAgent"`
	SessionMessages string `json:"webSocketMessages,omitempty"` // in/out; ours
	CloseCode       string `json:"webSocketCloseCode,omitempty"`
}

// appendAGC appends the record in AGC's shape. What Fairlead does not measure is "-".
func appendAGC(b []byte, r *Record) []byte {
	host, port := r.Backend, "-"
	if h, p, err := net.SplitHostPort(r.Backend); err == nil {
		host, port = h, p
	}
	_, frontend, err := net.SplitHostPort(r.Host)
	if err != nil {
		frontend = ""
	}
	p := agcProperties{
		BackendHost: dash(r.Backend), BackendIP: dash(host), BackendPort: port, BackendTime: "-",
		ClientIP: dash(r.Client), FrontendPort: dash(frontend), HostName: dash(r.Host), Method: dash(r.Method),
		Status: strconv.Itoa(r.Status), Version: dash(r.Protocol), Referer: dash(r.Referrer),
		RequestBody: strconv.FormatInt(r.BytesIn, 10), RequestURI: dash(r.Path), ResponseBody: strconv.FormatInt(r.BytesOut, 10),
		TimeTaken: strconv.FormatInt(r.Duration.Milliseconds(), 10), TLSCipher: dash(r.TLSCipher), TLSProtocol: dash(r.TLSVersion),
		TrackingID: dash(r.RequestID), UserAgent: dash(r.UserAgent),
	}
	if r.Websocket {
		p.SessionMessages = strconv.FormatInt(r.MessagesIn, 10) + "/" + strconv.FormatInt(r.MessagesOut, 10)
		p.CloseCode = "-"
		if r.CloseCode != 0 {
			p.CloseCode = strconv.Itoa(r.CloseCode)
		}
	}
	line, err := json.Marshal(agcLine{
		Category: "TrafficControllerAccessLog", Operation: "ReqRespLogs",
		Time: r.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"), Properties: p,
	})
	if err != nil { // a struct of strings: cannot fail
		return b
	}
	return append(append(b, line...), '\n')
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendCommon appends the NCSA combined form: the common log with referrer and user agent.
func appendCommon(b []byte, r *Record) []byte {
	client := r.Client
	if h, _, err := net.SplitHostPort(client); err == nil {
		client = h
	}
	b = append(b, plain(dash(client))...)
	b = append(b, " - "...)
	b = append(b, plain(dash(r.User))...)
	b = r.Time.AppendFormat(b, " [02/Jan/2006:15:04:05 -0700] ")
	b = quote(b, r.Method+" "+r.Path+" "+r.Protocol)
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

// plain keeps an unquoted field one word.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c == 0x7f || c == '"' || c == utf8.RuneError {
			return '_'
		}
		return c
	}, s)
}
