package eureka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Deadlines and bounds of a call to another server.
const (
	dialTimeout   = 5 * time.Second
	answerWait    = 15 * time.Second // from the end of the request to the head of the answer
	callTimeout   = 30 * time.Second // the whole call, unless ClientOptions says otherwise
	readLimit     = 64 << 20         // bytes of an answer, inflated, unless ClientOptions says otherwise
	reasonLimit   = 512              // bytes of an answer that is an error
	clientName    = "DefaultClient"  // DiscoveryIdentity-Name, as Netflix's client calls itself
	clientVersion = "1.4"            // DiscoveryIdentity-Version: the generation of Netflix's client that it speaks like
)

// registryHeader carries which registry answers, to those that replicate with it.
const registryHeader = "Fairlead-Registry"

// ClientOptions are the choices of a Client. The zero value speaks as an ordinary client.
type ClientOptions struct {
	// User and Password are sent as basic credentials; those in the URL go before them. No user: none are sent.
	User, Password string

	// TLS judges the server's certificate, and may present one. Nil: TLS 1.2 with the system's authorities.
	TLS *tls.Config

	// Replica says with each call that it replicates what another server was told.
	Replica bool

	// ID is the instance in whose name the calls are made: DiscoveryIdentity-Id. Empty: nobody's.
	ID string

	// Timeout bounds each call, its answer included. Zero: 30 s.
	Timeout time.Duration

	// Limit bounds an answer in bytes, inflated. Zero: 64 MiB.
	Limit int64

	// Dial connects. Nil: net.Dialer with 5 s.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client calls one Eureka server: its REST interface as other servers and clients see it. Every method is bounded in time
// and bytes, follows no redirect and may be called by any goroutine. A *CallError says what the server answered; any
// other error, that it did not, or not in time.
type Client struct {
	base string // without credentials, with a slash at the end
	http *http.Client
	o    ClientOptions

	registry atomic.Pointer[string] // what the server said last of which registry it is
}

// CallError is an answer that is not the one wanted.
type CallError struct {
	Status int
	Reason string // what the server said, cut
}

func (e *CallError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("answered %d", e.Status)
	}
	return fmt.Sprintf("answered %d: %s", e.Status, e.Reason)
}

// NewClient makes a client of the server whose Eureka interface begins at rawURL, "https://host:10011/eureka/". It connects
// when it is first used. Close it.
func NewClient(rawURL string, o ClientOptions) (*Client, error) {
	u, err := parseServiceURL(rawURL)
	if err != nil {
		return nil, err
	}
	if u.User != nil {
		o.User = u.User.Username()
		o.Password, _ = u.User.Password()
		u.User = nil
	}
	if o.Timeout == 0 {
		o.Timeout = callTimeout
	}
	if o.Limit == 0 {
		o.Limit = readLimit
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	t := &http.Transport{
		DialContext: o.Dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: answerWait, ResponseHeaderTimeout: answerWait, MaxResponseHeaderBytes: headBytes,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: idleTimeout,
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	return &Client{base: strings.TrimRight(u.String(), "/") + "/", o: o, http: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// parseServiceURL judges an address of a Eureka server. Its errors never name credentials.
func parseServiceURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL") // err would quote it
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q: want http or https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("no host in it")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("query or fragment in it")
	}
	return u, nil
}

// String is the server's address without credentials.
func (c *Client) String() string { return c.base }

// Registry tells the server's registry from all others; empty where it does not say, or has not yet been asked. Only Fairleads
// say it, and only to a Replica.
func (c *Client) Registry() string {
	if id := c.registry.Load(); id != nil {
		return *id
	}
	return ""
}

// Close closes the connections that wait for the next call. Calls under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Apps reads the whole registry.
func (c *Client) Apps(ctx context.Context) (*Applications, error) {
	return c.applications(ctx, "apps/")
}

// Delta reads what changed in the last minutes. Its Hash is that of the whole registry.
func (c *Client) Delta(ctx context.Context) (*Applications, error) {
	return c.applications(ctx, "apps/delta")
}

func (c *Client) applications(ctx context.Context, path string) (a *Applications, err error) {
	err = c.Call(ctx, http.MethodGet, path, nil, func(body io.Reader) error {
		a, err = readApplications(body)
		return err
	})
	if e, ok := errors.AsType[*CallError](err); ok && e.Status == http.StatusNotFound {
		return nil, fmt.Errorf("%w; is its path right? Eureka's interface is mostly at /eureka/", err)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Register registers an instance, as it stands.
func (c *Client) Register(ctx context.Context, i *Instance) error {
	return c.Call(ctx, http.MethodPost, appPath(i.App), appendJSONInstance(nil, i), nil)
}

// Renew is a heartbeat. 404 means that the server wants the instance registered again; in answer to a Replica, 409
// that it knows a newer one.
func (c *Client) Renew(ctx context.Context, i *Instance) error {
	query := url.Values{"status": {string(i.Status)}, "lastDirtyTimestamp": {strconv.FormatInt(i.LastDirty, 10)}}
	return c.Call(ctx, http.MethodPut, instancePath(i.App, i.ID)+"?"+query.Encode(), nil, nil)
}

// Cancel ends a registration.
func (c *Client) Cancel(ctx context.Context, app, id string) error {
	return c.Call(ctx, http.MethodDelete, instancePath(app, id), nil, nil)
}

func appPath(app string) string { return "apps/" + url.PathEscape(app) }

func instancePath(app, id string) string { return appPath(app) + "/" + url.PathEscape(id) }

// Call makes one call: path is below the server's base, escaped, and may have a query; body is JSON, or nil. An answer of
// 2xx is given to read, if that is not nil, as a stream that ends at the limit with an error. Others are a *CallError.
func (c *Client) Call(ctx context.Context, method, path string, body []byte, read func(body io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	c.head(req, body != nil)
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(err)
	}
	defer resp.Body.Close()
	registry := resp.Header.Get(registryHeader)
	c.registry.Store(&registry)
	if resp.StatusCode/100 != 2 {
		return &CallError{Status: resp.StatusCode, Reason: reasonOf(resp)}
	}
	if read != nil {
		if err := read(&bounded{in: resp.Body, left: c.o.Limit, limit: c.o.Limit}); err != nil {
			return fmt.Errorf("answer: %w", c.failed(err))
		}
	}
	_, _ = io.CopyN(io.Discard, resp.Body, reasonLimit) // so that the connection can be used again
	return nil
}

func (c *Client) head(req *http.Request, hasBody bool) {
	h := req.Header
	h.Set("Accept", jsonType)
	h.Set("DiscoveryIdentity-Name", clientName)
	h.Set("DiscoveryIdentity-Version", clientVersion)
	if c.o.ID != "" {
		h.Set("DiscoveryIdentity-Id", c.o.ID)
	}
	if c.o.Replica {
		h.Set("X-Netflix-Discovery-Replication", "true")
	}
	if hasBody {
		h.Set("Content-Type", jsonType)
	}
	if c.o.User != "" {
		req.SetBasicAuth(c.o.User, c.o.Password)
	}
}

// failed is err without the address of the call, which whoever logs it names anyway.
func (c *Client) failed(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v: %w", c.o.Timeout, context.DeadlineExceeded)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w; its authority belongs in tls.caFile", err)
	}
	return err
}

// reasonOf is what an error's body says, on one line.
func reasonOf(resp *http.Response) string {
	if location := resp.Header.Get("Location"); resp.StatusCode/100 == 3 {
		return "a redirect, which is not followed, to " + quoted(redacted(location))
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "text/plain" && kind != jsonType && kind != xmlType {
		return ""
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, reasonLimit)) // what came is enough
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if notInXML(r) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(string(text), "\ufffd"))), " ")
}

func redacted(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "?"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// bounded is a body of at most so many bytes; one more is an error.
type bounded struct {
	in          io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", b.limit)
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return n - 1, fmt.Errorf("more than %d bytes", b.limit)
	}
	return n, err
}
