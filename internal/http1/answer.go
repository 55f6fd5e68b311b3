package http1

import (
	"net/http"
	"sync/atomic"
	"time"
)

// found is what was among the fields of an answer.
type found struct{ date, upgrade bool }

// appendEndToEnd appends fields but those of the connection and the framing, which the engine writes itself. announced: the
// first Content-Length stays.
func appendEndToEnd(b []byte, fields Fields, announced bool) ([]byte, found) {
	var has found
	for i := range fields {
		name := fields[i].Name
		switch len(name) {
		case len("Date"):
			has.date = has.date || equalFold(name, "Date")
		case len("Upgrade"):
			has.upgrade = has.upgrade || equalFold(name, "Upgrade")
		case len("Connection"): // and Keep-Alive
			if equalFold(name, "Connection") || equalFold(name, "Keep-Alive") {
				continue
			}
		case len("Content-Length"):
			if equalFold(name, "Content-Length") {
				if !announced {
					continue
				}
				announced = false
			}
		case len("Proxy-Connection"):
			if equalFold(name, "Proxy-Connection") {
				continue
			}
		case len("Transfer-Encoding"):
			if equalFold(name, "Transfer-Encoding") {
				continue
			}
		}
		b = AppendField(b, name, fields[i].Value)
	}
	return b, has
}

// A dateLine is the Date field of one second.
type dateLine struct {
	second int64
	line   string
}

var lastDate atomic.Pointer[dateLine]

// appendDate appends the Date field for now. RFC 9110, section 6.6.1.
func appendDate(b []byte, now time.Time) []byte {
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateLine{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		lastDate.Store(d)
	}
	return append(b, d.line...)
}
