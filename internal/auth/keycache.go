package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of fetching keys.
const (
	minFetchInterval = 10 * time.Second // from the start of one fetch to that of the next
	fetchTimeout     = 5 * time.Second
	maxWaiting       = 256 // requests that wait for the fetch of one source
	maxKeyHeader     = 64 << 10
)

// A KeyCache has the keys of issuers that are fetched. It outlives the configuration: a source that a reload names again keeps its
// keys, so that a reload while the source is away shuts nobody out.
type KeyCache struct {
	Log *slog.Logger

	interval time.Duration // constant: minFetchInterval, less in tests
	patience time.Duration // constant: fetchTimeout, less in tests

	mu      sync.Mutex // guards the following
	sources map[sourceID]*keySource
	changed chan struct{} // capacity 1: sources is another map than Run has seen
}

// NewKeyCache returns one that fetches nothing until Run.
func NewKeyCache(log *slog.Logger) *KeyCache {
	return &KeyCache{Log: log, interval: minFetchInterval, patience: fetchTimeout, sources: map[sourceID]*keySource{}, changed: make(chan struct{}, 1)}
}

// A sourceID says which sources are one.
type sourceID struct {
	uri    string
	caFile string
}

// A keySource is one place from which keys are fetched.
type keySource struct {
	id     sourceID
	cache  *KeyCache
	client *http.Client
	keys   atomic.Pointer[keySet] // nil: none has come yet

	mu      sync.Mutex // guards the following
	refresh time.Duration
	running *fetch    // under way; nil: none
	began   time.Time // of the last fetch
	good    time.Time // when keys were fetched last
	away    bool      // the last fetch failed
	waiting int
}

// A fetch is one that requests may wait for.
type fetch struct {
	done chan struct{}
	err  error // once done
}

// use returns the source, which may be there already, or among those that have been made for the same configuration.
func (c *KeyCache) use(is *IssuerConfig, made map[sourceID]*keySource) (*keySource, error) {
	roots, err := is.roots()
	if err != nil {
		return nil, err
	}
	id := sourceID{is.JWKSURI, is.JWKSCAFile}
	refresh := is.JWKSRefresh
	if refresh == 0 {
		refresh = defaultRefresh
	}
	c.mu.Lock()
	src := c.sources[id]
	c.mu.Unlock()
	if src == nil {
		src = made[id]
	}
	if src == nil {
		src = &keySource{id: id, cache: c}
		made[id] = src
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.client == nil || roots != nil { // the file of authorities may have changed
		if src.client != nil {
			src.client.CloseIdleConnections()
		}
		src.client = keyClient(roots)
	}
	src.refresh = refresh
	return src, nil
}

// keep makes the sources of a configuration those that are refreshed; others are forgotten.
func (c *KeyCache) keep(all []*keySource) {
	next := make(map[sourceID]*keySource, len(all))
	for _, src := range all {
		next[src.id] = src
	}
	c.mu.Lock()
	old := c.sources
	c.sources = next
	c.mu.Unlock()
	for id, src := range old {
		if next[id] == nil {
			src.client.CloseIdleConnections()
		}
	}
	if !maps.Equal(next, old) {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// roots are the authorities of jwksCAFile; nil: the system's.
func (c *IssuerConfig) roots() (*x509.CertPool, error) {
	if c.JWKSCAFile == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	text, err := readBounded(c.JWKSCAFile, maxUsersFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", c.JWKSCAFile)
	}
	return pool, nil
}

func keyClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer().DialContext, ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
			IdleConnTimeout: 2 * fetchTimeout, TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: maxKeyHeader,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects, which is not followed") },
	}
}

// Run fetches what is used, at start and when it is due, until ctx ends.
func (c *KeyCache) Run(ctx context.Context) {
	var fetching sync.WaitGroup
	defer fetching.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := time.Hour
		c.mu.Lock()
		for _, src := range c.sources {
			due := src.due(time.Now())
			if due <= 0 {
				if f := src.begin(true); f != nil {
					fetching.Go(func() { src.run(ctx, f) })
				}
				due = c.interval
			}
			next = min(next, due)
		}
		c.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-c.changed:
		case <-ctx.Done():
			return
		}
	}
}

// due is how long the next fetch in the background may wait. After a failure it comes soon.
func (s *keySource) due(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.began.IsZero():
		return 0
	case s.away:
		return min(s.refresh, 3*s.cache.interval) - now.Sub(s.began)
	}
	return s.refresh - now.Sub(s.began)
}

// begin says that whoever calls it has to run a fetch; nil: one is under way, or was too short a time ago. due: it is time anyway.
func (s *keySource) begin(due bool) *fetch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil || !due && !s.began.IsZero() && time.Since(s.began) < s.cache.interval {
		return nil
	}
	s.running, s.began = &fetch{done: make(chan struct{})}, time.Now()
	return s.running
}

// run carries a fetch out. What it brings serves from then on; a failure leaves what is there.
func (s *keySource) run(ctx context.Context, f *fetch) {
	keys, err := s.get(ctx)
	s.mu.Lock()
	was, age := s.away, time.Since(s.good)
	if s.good.IsZero() {
		age = 0
	}
	if s.running, s.away = nil, err != nil; err == nil {
		s.good = time.Now()
		s.keys.Store(keys)
	}
	s.mu.Unlock()
	f.err = err
	close(f.done)
	switch {
	case err != nil && ctx.Err() == nil:
		s.cache.Log.Warn("keys of an issuer not fetched, the old ones stay", "uri", s.id.uri, "serving_age", age.Truncate(time.Second), "have_keys", s.keys.Load() != nil, "err", err)
	case err == nil && was:
		s.cache.Log.Info("keys of an issuer fetched again", "uri", s.id.uri, "keys", len(keys.keys))
	case err == nil:
		s.cache.Log.Debug("keys of an issuer fetched", "uri", s.id.uri, "keys", len(keys.keys))
	}
}

func (s *keySource) get(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cache.patience)
	defer cancel()
	s.mu.Lock()
	client := s.client
	s.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.id.uri, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "fairlead")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answer %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxKeySet:
		return nil, fmt.Errorf("more than %d bytes", maxKeySet)
	}
	return parseKeys(text)
}

var errKeysAway = errors.New("the issuer's keys are not there")

// fresher waits for keys that are newer than have, if it is time to fetch them or somebody does. The error is that there are none at
// all, or that too many wait.
func (s *keySource) fresher(ctx context.Context, have *keySet) (*keySet, error) {
	mine := s.begin(false)
	s.mu.Lock()
	f := s.running
	if mine != nil {
		f = mine
	} else if f == nil || s.waiting >= maxWaiting {
		busy := f != nil
		s.mu.Unlock()
		if now := s.keys.Load(); now != have && now != nil {
			return now, nil
		}
		if busy || have == nil {
			return nil, errKeysAway
		}
		return have, nil
	}
	s.waiting++
	s.mu.Unlock()
	if mine != nil {
		s.run(context.WithoutCancel(ctx), mine) // others wait for it, too
	}
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.waiting--
	s.mu.Unlock()
	if now := s.keys.Load(); now != nil {
		return now, nil
	}
	return nil, errKeysAway
}
