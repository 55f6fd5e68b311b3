package eureka

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// drainLimit bounds, in bytes, what is read and thrown away behind a body that was too big, so that its
// sender gets to read why.
const drainLimit = 8 << 20

// register carries POST apps/{APP} out.
func (c *call) register(app string) {
	in, err := c.decode()
	if err == nil {
		err = complete(in, app)
	}
	if err == nil {
		err = check(in)
	}
	if err == nil {
		err = checkReaches(in, c.r.cfg.AllowedHosts, near(c.req))
	}
	if err == nil {
		err = c.r.register(in, c.by)
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.r.programmed(c.req.Context())
	c.w.WriteHeader(http.StatusNoContent)
}

// complete fills the id in, and says what is missing.
func complete(in *Instance, app string) error {
	if in.ID == "" && in.DataCenter.Name == dataCenterAmazon {
		in.ID = in.DataCenter.Metadata["instance-id"]
	}
	if in.ID == "" {
		in.ID = in.HostName
	}
	return missing(in, app)
}

// decode reads the instance in the body.
func (c *call) decode() (*Instance, error) {
	data, err := c.payload(c.r.cfg.bodyLimit())
	if err != nil {
		return nil, err
	}
	parse := parseXMLInstance
	if isJSON(c.req.Header.Get("Content-Type"), data) {
		parse = parseJSONInstance
	}
	in, err := parse(data)
	if err != nil {
		return nil, refuse("cannot parse request body: %v", err)
	}
	return in, nil
}

// isJSON says what a body is: as its type says, else as it looks.
func isJSON(contentType string, data []byte) bool {
	contentType = strings.ToLower(contentType)
	switch {
	case strings.Contains(contentType, "json"):
		return true
	case strings.Contains(contentType, "xml"):
		return false
	}
	return !bytes.HasPrefix(bytes.TrimSpace(trimMark(data)), []byte("<"))
}

// payload reads the body, inflated where it was compressed; neither form may be longer than the limit.
func (c *call) payload(limit int64) ([]byte, error) {
	if c.req.ContentLength > limit {
		return nil, c.tooBig(limit)
	}
	data, err := io.ReadAll(io.LimitReader(c.req.Body, limit+1))
	if err != nil {
		return nil, refuse("cannot read request body: %v", err)
	}
	if int64(len(data)) > limit {
		return nil, c.tooBig(limit)
	}
	switch encoding := strings.ToLower(c.req.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return data, nil
	case "gzip", "x-gzip":
		data, err = inflate(data, limit)
		if err != nil {
			return nil, refuse("cannot parse request body: %v", err)
		}
		return data, nil
	default:
		return nil, &refusal{
			status: http.StatusUnsupportedMediaType,
			reason: fmt.Sprintf("content encoding %q is not known", encoding),
		}
	}
}

// tooBig refuses the body. What is still coming is read, within bounds, unless the sender waits for leave to send.
func (c *call) tooBig(limit int64) error {
	if c.req.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, c.req.Body, drainLimit) // whatever ends it, the answer is the same
	}
	c.w.Header().Set("Connection", "close")
	return refuse("request body is longer than %d bytes", limit)
}

func inflate(data []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(out)) > limit:
		return nil, errors.New("inflated it is longer than the limit")
	}
	return out, nil
}
