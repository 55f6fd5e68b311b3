package sample

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	registryTimeout = 5 * time.Second        // one request to the registry
	firstRetry      = 100 * time.Millisecond // doubles up to lastRetry
	lastRetry       = 5 * time.Second
)

// registration is an instance as Eureka's REST interface takes it: the fields that the Node.js enabler sends.
type registration struct {
	App              string            `json:"app"`
	VIPAddress       string            `json:"vipAddress"`
	SecureVIPAddress string            `json:"secureVipAddress"`
	InstanceID       string            `json:"instanceId"`
	HostName         string            `json:"hostName"`
	IPAddr           string            `json:"ipAddr"`
	Status           string            `json:"status"`
	Port             port              `json:"port"`
	SecurePort       port              `json:"securePort"`
	HomePageURL      string            `json:"homePageUrl"`
	StatusPageURL    string            `json:"statusPageUrl"`
	HealthCheckURL   string            `json:"healthCheckUrl,omitempty"`
	SecureHealthURL  string            `json:"secureHealthCheckUrl,omitempty"`
	DataCenterInfo   dataCenter        `json:"dataCenterInfo"`
	LeaseInfo        *lease            `json:"leaseInfo,omitempty"`
	Metadata         map[string]string `json:"metadata"`
}

type port struct {
	Number  int  `json:"$"`
	Enabled bool `json:"@enabled"`
}

type dataCenter struct {
	Class string `json:"@class"`
	Name  string `json:"name"`
}

type lease struct {
	RenewalIntervalInSecs int `json:"renewalIntervalInSecs"`
	DurationInSecs        int `json:"durationInSecs"`
}

// registrar keeps one instance in the registry: register, then run, then deregister.
type registrar struct {
	base           string // http(s)://host:port/eureka
	user, password string // basic credentials; user "" sends none
	every          time.Duration
	client         *http.Client
	log            *slog.Logger
	self           registration
}

// statusError is an answer of the registry that was not the expected one.
type statusError struct {
	method string
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("registry %s: status %d: %s", e.method, e.status, e.text)
}

// permanent reports whether asking again cannot help: the registry has understood and refused.
func (e *statusError) permanent() bool {
	return e.status >= 400 && e.status < 500 && e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests
}

func newRegistrar(base string, conf *tls.Config, userinfo string, every time.Duration, log *slog.Logger) *registrar {
	user, password, _ := strings.Cut(userinfo, ":")
	return &registrar{
		base: strings.TrimRight(base, "/"), user: user, password: password, every: every, log: log,
		client: &http.Client{
			Timeout:   registryTimeout,
			Transport: &http.Transport{TLSClientConfig: conf, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		},
	}
}

// register tries until the registry has answered 204, refused for good, or ctx has ended.
func (r *registrar) register(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := r.post(ctx)
		var refused *statusError
		if err == nil || errors.As(err, &refused) && refused.permanent() {
			return err
		}
		r.log.Debug("registration not accepted", "id", r.self.InstanceID, "retry_in", wait, "err", err)
		if sleep(ctx, wait) != nil {
			return fmt.Errorf("registration of %s given up: %w", r.self.InstanceID, err)
		}
	}
}

// run sends heartbeats until ctx ends, and registers again when the registry has forgotten the instance.
// A heartbeat that failed is repeated sooner than the next one is due.
func (r *registrar) run(ctx context.Context) {
	defer r.client.CloseIdleConnections()
	wait, retry := r.every, firstRetry
	for sleep(ctx, wait) == nil {
		err := r.send(ctx, http.MethodPut, r.path(), nil, http.StatusOK)
		var answer *statusError
		if errors.As(err, &answer) && answer.status == http.StatusNotFound {
			r.log.Info("registry has forgotten the instance", "id", r.self.InstanceID)
			err = r.post(ctx)
		}
		wait, retry = r.every, min(2*retry, lastRetry)
		switch {
		case err == nil:
			retry = firstRetry
		case ctx.Err() == nil:
			wait = min(r.every, retry)
			r.log.Warn("heartbeat failed", "id", r.self.InstanceID, "retry_in", wait, "err", err)
		}
	}
}

func (r *registrar) post(ctx context.Context) error {
	body, err := json.Marshal(struct {
		Instance registration `json:"instance"`
	}{r.self})
	if err != nil {
		return fmt.Errorf("registration of %s: %w", r.self.InstanceID, err)
	}
	return r.send(ctx, http.MethodPost, "/apps/"+url.PathEscape(r.self.App), body, http.StatusNoContent)
}

// deregister removes the instance. One that the registry does not know is no error.
func (r *registrar) deregister(ctx context.Context) error {
	defer r.client.CloseIdleConnections()
	err := r.send(ctx, http.MethodDelete, r.path(), nil, http.StatusOK)
	var answer *statusError
	if errors.As(err, &answer) && answer.status == http.StatusNotFound {
		return nil
	}
	return err
}

func (r *registrar) path() string {
	return "/apps/" + url.PathEscape(r.self.App) + "/" + url.PathEscape(r.self.InstanceID)
}

func (r *registrar) send(ctx context.Context, method, path string, body []byte, want int) error {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("registry %s: %w", method, err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.user != "" {
		req.SetBasicAuth(r.user, r.password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("registry %s: %w", method, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // for the error only: what cannot be read is not shown
	if resp.StatusCode != want {
		return &statusError{method: method, status: resp.StatusCode, text: strings.TrimSpace(string(text))}
	}
	return nil
}

// sleep waits d or until ctx ends, which is its error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
