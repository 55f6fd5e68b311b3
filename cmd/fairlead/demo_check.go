package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/sample"
)

const (
	checkTimeout = 10 * time.Second // for one step
	checkBody    = 1 << 20          // bytes of an answer that are read
)

// checker runs the main job once, as clients would: by name, over TLS that is verified.
type checker struct {
	*demo
	client *http.Client

	session  *websocket.Conn // open over several steps
	answered string          // the instance that it is with
}

// check runs every step, in order, until one fails.
func (d *demo) check(ctx context.Context, out io.Writer) error {
	client, err := d.client()
	if err != nil {
		return fmt.Errorf("demo check: %w", err)
	}
	defer client.CloseIdleConnections()
	c := &checker{demo: d, client: client}
	defer func() {
		if c.session != nil {
			_ = c.session.CloseNow()
		}
	}()
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"a WebSocket over verified TLS answers in upper case", c.open},
		{"the older order of the URL answers too", c.olderOrder},
		{"wrong credentials are refused with 1003", c.wrongCredentials},
		{"the REST API answers", c.rest},
		{"the page and its script are served", c.page},
		{"the session list has the session", c.list},
		{"the instance that answered is stopped", c.stopInstance},
		{"the service still answers, from the other instance", c.reopen},
		{"bye is answered and closed with 1000", c.bye},
	}
	for _, s := range steps {
		if s.name == "wrong credentials are refused with 1003" && d.Basic == "" {
			continue
		}
		step, cancel := context.WithTimeout(ctx, checkTimeout)
		err := s.run(step)
		cancel()
		if err != nil {
			fmt.Fprintf(out, "FAIL  %s: %v\n", s.name, err)
			return errReported
		}
		if _, err := fmt.Fprintf(out, "ok    %s\n", s.name); err != nil {
			return err
		}
	}
	return nil
}

// client trusts the gateway's own certificate and nothing else, and asks it for "localhost" whatever the
// machine's resolver makes of that name.
func (d *demo) client() (*http.Client, error) {
	pem, err := os.ReadFile(d.gateway.CertFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate", d.gateway.CertFile)
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, d.gateway.HTTPS)
			},
		},
	}, nil
}

func (c *checker) dial(ctx context.Context, path, basic string) (*websocket.Conn, error) {
	opts := &websocket.DialOptions{HTTPClient: c.client, HTTPHeader: http.Header{}}
	if basic != "" {
		opts.HTTPHeader.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basic)))
	}
	conn, _, err := websocket.Dial(ctx, "wss://"+c.host()+path, opts)
	return conn, err
}

// ask sends one message and reads one.
func ask(ctx context.Context, conn *websocket.Conn, text string) (string, error) {
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return "", err
	}
	_, answer, err := conn.Read(ctx)
	return string(answer), err
}

// askNamed is ask on a session whose answers name their instance.
func askNamed(ctx context.Context, conn *websocket.Conn, text, want string) (instance string, err error) {
	message, err := ask(ctx, conn, text)
	if err != nil {
		return "", err
	}
	var answer sample.Answer
	if err := json.Unmarshal([]byte(message), &answer); err != nil {
		return "", fmt.Errorf("answer %.80q: %w", message, err)
	}
	if answer.Text != want {
		return "", fmt.Errorf("answer %.80q, want %q", answer.Text, want)
	}
	return answer.Instance, nil
}

func (c *checker) open(ctx context.Context) (err error) {
	if c.session, err = c.dial(ctx, "/discoverableclient/ws/v1/uppercase?instance=1", c.Basic); err != nil {
		return err
	}
	c.answered, err = askNamed(ctx, c.session, "hello world!", "HELLO WORLD!")
	return err
}

func (c *checker) olderOrder(ctx context.Context) error {
	conn, err := c.dial(ctx, "/ws/v1/discoverableclient/uppercase", c.Basic)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	answer, err := ask(ctx, conn, "hello world!")
	if err == nil && answer != "HELLO WORLD!" {
		err = fmt.Errorf("answer %.80q", answer)
	}
	return err
}

func (c *checker) wrongCredentials(ctx context.Context) error {
	conn, err := c.dial(ctx, "/discoverableclient/ws/v1/uppercase", c.Basic+"x")
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	_, _, err = conn.Read(ctx)
	return wantClose(err, websocket.StatusUnsupportedData, "Invalid login credentials")
}

func wantClose(err error, code websocket.StatusCode, reason string) error {
	var closed websocket.CloseError
	if errors.As(err, &closed) && closed.Code == code && closed.Reason == reason {
		return nil
	}
	if err == nil {
		return fmt.Errorf("a message came, want close %d %q", code, reason)
	}
	return fmt.Errorf("want close %d %q: %w", code, reason, err)
}

// fetch asks for path and returns the body of an answer with this status.
func (c *checker) fetch(ctx context.Context, method, path, password string, status int) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.host()+path, http.NoBody)
	if err != nil {
		return "", err
	}
	if password != "" {
		req.SetBasicAuth("admin", password)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, checkBody))
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s %s: status %d, want %d: %.200s", method, path, resp.StatusCode, status, body)
	}
	return string(body), err
}

// contains is fetch with GET for a body that has want in it.
func (c *checker) contains(ctx context.Context, path, password, want string) error {
	body, err := c.fetch(ctx, http.MethodGet, path, password, http.StatusOK)
	if err == nil && !strings.Contains(body, want) {
		err = fmt.Errorf("GET %s: no %q in %.200q", path, want, body)
	}
	return err
}

func (c *checker) rest(ctx context.Context) error {
	return c.contains(ctx, "/discoverableclient/api/v1/ws", "", `"content":"Hello, Web service!"`)
}

func (c *checker) page(ctx context.Context) error {
	if _, err := c.fetch(ctx, http.MethodGet, "/discoverableclient/ui/v1", "", http.StatusFound); err != nil {
		return err
	}
	if err := c.contains(ctx, "/discoverableclient/ui/v1/", "", "<title>Fairlead demo"); err != nil {
		return err
	}
	return c.contains(ctx, "/discoverableclient/ui/v1/app.js", "", "new WebSocket")
}

// list reads the session list with the generated password, if this run or an earlier one has left it.
func (c *checker) list(ctx context.Context) error {
	if _, err := c.fetch(ctx, http.MethodGet, "/application/websockets", "", http.StatusUnauthorized); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(c.dataDir, "admin-password"))
	if err != nil {
		return err
	}
	return c.contains(ctx, "/application/websockets", strings.TrimSpace(string(password)), "/discoverableclient/ws/uppercase")
}

// stopInstance stops the instance as the page does: through the gateway. The open session answers the Close.
func (c *checker) stopInstance(ctx context.Context) error {
	c.session.CloseRead(ctx)
	body, err := c.fetch(ctx, http.MethodPost, "/"+sample.ControlID+"/api/v1/instances/"+c.answered+"/stop", "", http.StatusOK)
	if err == nil && !strings.Contains(body, string(sample.Stopped)) {
		err = fmt.Errorf("instances: %.200s", body)
	}
	return err
}

// reopen opens a session as a client would whose own was closed.
func (c *checker) reopen(ctx context.Context) error {
	_ = c.session.CloseNow()
	stopped := c.answered
	if err := c.open(ctx); err != nil {
		return err
	}
	if c.answered == stopped {
		return fmt.Errorf("answered by %s, which is stopped", stopped)
	}
	return nil
}

func (c *checker) bye(ctx context.Context) error {
	if _, err := askNamed(ctx, c.session, "bye", "BYE"); err != nil {
		return err
	}
	_, _, err := c.session.Read(ctx)
	return wantClose(err, websocket.StatusNormalClosure, "")
}
