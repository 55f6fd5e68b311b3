package proxy

import (
	"errors"
	"net/url"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// relayAnswer passes the service's answer on to the client as it comes.
func (s *Server) relayAnswer(c *call) {
	x, a := c.x, &c.answer
	x.takeReport(&a.Fields, c.endpoint)
	fields := x.edited(x.answerFields(a.Fields))
	if a.Status >= 300 && a.Status < 400 && !x.ofGateway() {
		if to, ok := c.relocate(fields.Get("Location")); ok {
			fields.Set("Location", to)
		}
	}
	fields = x.corsFields(x.pin(fields, c.endpoint))
	a.Fields = fields // their array is used again
	x.record.Status = a.Status
	c.reply = http1.Answer{Status: a.Status, Reason: a.Reason, Fields: fields, Body: a.Body}
	if !c.until.IsZero() {
		x.SetLimit(c.until) // not before: a failure would not reach the client
	}
	err := c.pass(&c.reply)
	if c.upload != nil {
		_ = c.upload.Stop(x.run)
	}
	switch gone := x.leash.letGo(); {
	case err == nil:
		c.giveBack()
		return
	case gone != nil:
		x.record.Cause = errClientGone.Error()
	case c.late():
		x.record.Cause = errResponse.Error()
	case isSource(err):
		x.record.Cause = "answer broken off: " + err.Error()
	default:
		x.record.Cause = "client: " + err.Error()
	}
	c.close()
}

// takeReport notes what the endpoint says of its load, where the policy goes by that: then it is not the client's business.
func (x *exchange) takeReport(fields *http1.Fields, ep *upstream.Endpoint) {
	if x.to.policy.LoadBalancing != upstream.LoadAware {
		return
	}
	by := x.to.policy.LoadAware.Reports()
	for value := range fields.All(upstream.ReportField) {
		ep.Reported(value, &by)
	}
	fields.Del(upstream.ReportField)
}

// isSource tells whether a copy failed because its source did.
func isSource(err error) bool {
	_, ok := errors.AsType[*http1.SourceError](err)
	return ok
}

// giveBack puts the connection into the pool, or closes it if it cannot carry another request.
func (c *call) giveBack() {
	if c.conn == nil && c.stream == nil {
		return
	}
	if c.upload != nil {
		_ = c.upload.Stop(c.x.run)
		c.upload = nil
	}
	switch gone := c.x.leash.letGo(); {
	case c.stream != nil:
		c.close()
		return
	case gone == nil:
		c.x.settings.pool.Put(c.key, c.conn)
	default:
		_ = c.conn.Close()
	}
	c.conn, c.x.service = nil, nil
}

// pass sends the answer: whole in one write if it has come whole, else its head before what is to come.
func (c *call) pass(answer *http1.Answer) error {
	x, body := c.x, c.body()
	if answer.Body.Kind == http1.Length && answer.Body.Length > 0 {
		if content, ok := body.Whole(); ok && len(content) <= maxCopied {
			x.head = append(x.head[:0], content...)
			c.giveBack() // before the client can ask for more: its next request may use the connection
			return x.Reply(answer, x.head)
		} else if ok {
			return x.Reply(answer, content)
		}
	}
	x.Respond(answer)
	if !body.Ready() {
		if err := x.Flush(); err != nil {
			return err
		}
	}
	return http1.Copy(x.client, body)
}

// relocate maps an absolute Location at the service, or at any other registered instance, to
// the gateway's path for it (zowe.md, section 5.1). Others, and relative ones, stay.
func (c *call) relocate(location string) (string, bool) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "") {
		return "", false
	}
	_, rest, _ := strings.Cut(location, "//")
	path := ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		path = rest[i:]
	}
	host := u.Host
	if u.Port() == "" {
		host = u.Hostname() + ":" + portOf(u.Host, u.Scheme)
	}
	if to, ok := relocateOn(c.x.to.Route, c.x.to.Prefix, host, path); ok {
		return to, true
	}
	for _, rt := range c.x.table.Routes() {
		if to, ok := relocateOn(rt, rt.Prefixes[0], host, path); ok {
			return to, true
		}
	}
	return "", false
}

// relocateOn maps path at host to prefix if an endpoint of rt listens on host and the path
// lies below the route's target.
func relocateOn(rt *route.Route, prefix, host, path string) (string, bool) {
	base := strings.TrimSuffix(rt.Target, "/")
	rest, ok := strings.CutPrefix(path, base)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], "/?#") {
		return "", false
	}
	for _, ep := range rt.Service.Endpoints {
		if strings.EqualFold(ep.Address(), host) {
			return prefix + rest, true
		}
	}
	return "", false
}
