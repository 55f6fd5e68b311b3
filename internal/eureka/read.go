package eureka

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of the answers.
const (
	jsonType = "application/json"
	xmlType  = "application/xml"
	textType = "text/plain; charset=utf-8"
	varies   = "Accept, Accept-Encoding, X-Eureka-Accept"
)

// read answers with a part of the registry, prebuilt.
func (c *call) read(what resource, name string) {
	c.r.reads.Add(1)
	key := answerKey{what, name, c.json, strings.EqualFold(c.req.Header.Get("X-Eureka-Accept"), "compact")}
	a := c.r.snapshot().answer(key)
	if a == nil {
		c.fail(http.StatusNotFound, "")
		return
	}
	h := c.w.Header()
	h.Set("Vary", varies)
	if c.json {
		h.Set("Content-Type", jsonType)
	} else {
		h.Set("Content-Type", xmlType)
	}
	body := a.body
	if acceptsGzip(c.req.Header.Values("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = a.gzip()
	}
	c.body(http.StatusOK, body)
}

// acceptsGzip reads Accept-Encoding: RFC 9110, section 12.5.3.
func acceptsGzip(values []string) bool {
	star := false
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			coding, weight, _ := strings.Cut(item, ";")
			name, q, _ := strings.Cut(strings.TrimSpace(weight), "=")
			yes := !strings.EqualFold(name, "q") || strings.Trim(q, "0. ") != ""
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return yes
			case "*":
				star = yes
			}
		}
	}
	return star
}

// one answers with a single instance.
func (c *call) one(i *Instance) {
	c.r.reads.Add(1)
	if i == nil {
		c.fail(http.StatusNotFound, "")
		return
	}
	c.document(http.StatusOK, i)
}

func (c *call) document(status int, i *Instance) {
	if c.json {
		c.send(status, jsonType, appendJSONInstance(nil, i))
		return
	}
	c.send(status, xmlType, appendXMLInstance(nil, i, false))
}

// send answers with a body made for this request.
func (c *call) send(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Vary", varies)
	if acceptsGzip(c.req.Header.Values("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body = compress(body)
	}
	c.body(status, body)
}

// byID is the instance of that id in whichever application, or nil.
func (r *Registry) byID(id string) *Instance {
	i := r.snapshot().byID[id]
	if i == nil {
		return nil
	}
	return r.one(leaseKey{i.App, i.ID})
}

// overrides lists the statuses set from outside; JSON whatever was asked for, as Eureka does.
func (c *call) overrides() {
	all := c.r.overrides()
	b := []byte{'{'}
	for n, id := range slices.Sorted(maps.Keys(all)) {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, id)
		b = append(b, ':')
		b = appendJSONString(b, all[id])
	}
	c.send(http.StatusOK, jsonType, append(b, '}'))
}

// serverStatus describes the server itself.
func (c *call) serverStatus() {
	s := c.r.Stats()
	host, _ := os.Hostname() // empty where there is none
	up := time.Since(c.r.started).Round(time.Second).String()
	pairs := [][2]string{
		{"server-uptime", up},
		{"registered-instances", strconv.Itoa(s.Instances)},
		{"renews-last-minute", strconv.FormatInt(s.RenewsLastMinute, 10)},
		{"renews-threshold", strconv.FormatInt(s.RenewsExpected, 10)},
		{"self-preservation", strconv.FormatBool(s.SelfPreservation)},
	}
	if !c.json {
		b := []byte(`<status><generalStats>`)
		for _, p := range pairs {
			b = appendXMLText(b, p[0], p[1])
		}
		b = append(b, `</generalStats><applicationStats/><instanceInfo>`...)
		b = appendXMLText(b, "hostName", host)
		c.send(http.StatusOK, xmlType, append(b, `</instanceInfo><isHealthy>true</isHealthy></status>`...))
		return
	}
	b := []byte(`{"generalStats":{`)
	for n, p := range pairs {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(appendJSONString(b, p[0]), ':')
		b = appendJSONString(b, p[1])
	}
	b = append(b, `},"applicationStats":{},"instanceInfo":{"hostName":`...)
	b = appendJSONString(b, host)
	c.send(http.StatusOK, jsonType, append(b, `},"isHealthy":true}`...))
}

// overview is a page of text for people.
func (c *call) overview() {
	var b strings.Builder
	v := c.r.snapshot()
	fmt.Fprintf(&b, "Eureka registry: %d instances, status %q\n", len(v.instances), v.hash)
	for _, a := range v.apps {
		for _, i := range a.Instances {
			host, port := i.Address()
			fmt.Fprintf(&b, "%s %s %s:%d %s\n", i.ServiceID(), i.Status, host, port, i.ID)
		}
	}
	c.send(http.StatusOK, textType, []byte(b.String()))
}
