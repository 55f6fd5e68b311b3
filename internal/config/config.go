// Package config reads fairlead.yaml. It composes the sections that other packages own, puts
// a place in the file to every error, and tells what a reload cannot change.
//
// Reading the source: Load, Parse, then decoder.value for how YAML becomes structs, and
// check for what the values must satisfy together.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/admin"
	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/kubernetes"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Config is fairlead.yaml. Every section, and every key in it, may be absent.
type Config struct {
	// Gateway is where clients are served.
	Gateway proxy.Config `yaml:"gateway"`

	// Limits bound what clients may take up, all listeners together.
	Limits proxy.Limits `yaml:"limits"`

	// Registry is the embedded Eureka registry, with which services register.
	Registry eureka.Config `yaml:"registry"`

	// Eureka is a Eureka cluster to read, and to register with.
	Eureka eureka.ClusterConfig `yaml:"eureka"`

	// Kubernetes is what holds for objects of the Gateway API.
	Kubernetes kubernetes.Config `yaml:"kubernetes"`

	// Manifests are files or directories of Gateway API YAML: Gateways, routes, Services, policies. A change of
	// theirs is live within a second; a file with an error leaves what was there before. Default none. A change of
	// the list needs a restart.
	Manifests []string `yaml:"manifests"`

	// Auth is what the gateway itself may ask of clients. Which routes ask, their policy says
	// (`defaults.auth`).
	Auth Auth `yaml:"auth"`

	// Upstream is the way to the services.
	Upstream Upstream `yaml:"upstream"`

	// Defaults is the route policy that holds where neither a service nor one of its routes
	// says anything else. A service may tighten, but never loosen, authentication, origins,
	// timeouts and limits that are set here.
	Defaults route.Policy `yaml:"defaults"`

	// Admin names who may use the protected endpoints below /application. Without users, the
	// user `admin` is made at the first start; its password is written once to
	// dataDir/admin-password (mode 0600) and kept as a hash.
	Admin admin.Config `yaml:"admin"`

	// AccessLog is one line per request and per session, written when it ends.
	AccessLog accesslog.Config `yaml:"accessLog"`

	// Log is the log of the process itself, on standard error.
	Log Log `yaml:"log"`

	// DataDir is the directory of what Fairlead generates: its certificate, the password of the user
	// `admin`, and the snapshot of the embedded registry. It is made (mode 0700) if it is missing. Default "./fairlead-data".
	// A change needs a restart. Danger: whoever reads it has the certificate's key.
	DataDir string `yaml:"dataDir"`

	src *source // where keys stand; nil: no file
}

// Auth is the section auth.
type Auth struct {
	// Basic names the users of routes whose policy says `auth: basic`.
	Basic auth.BasicConfig `yaml:"basic"`

	// JWT names whose tokens let clients in to routes whose policy says `auth: bearer`.
	JWT auth.JWTConfig `yaml:"jwt"`

	// PassCredentials has services see the credentials that the gateway itself has checked: Authorization, or the field, the cookie or
	// the query parameter of a token. Default false.
	PassCredentials bool `yaml:"passCredentials"`
}

// Upstream is the section upstream.
type Upstream struct {
	// TLS says how the certificates of services are judged.
	TLS upstream.TLSConfig `yaml:"tls"`
}

// Log is the section log.
type Log struct {
	// Level is the least level that is logged: debug, info, warn or error. Default info.
	Level string `yaml:"level"`

	// Format is text (key=value) or json. Default text. A change needs a restart.
	Format string `yaml:"format"`
}

// SlogLevel is Level for log/slog; an unknown name is info.
func (l Log) SlogLevel() slog.Level {
	switch l.Level {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// Default returns what holds without a file.
func Default() *Config {
	c := &Config{}
	c.fill()
	return c
}

// fill sets what is not said to its default, where the default is the same for every reader.
// Sections with more to say do it themselves, beside the code that reads them.
func (c *Config) fill() {
	c.Gateway.Listeners = c.Gateway.ListenersOrDefault()
	c.Registry.Address = c.Registry.ListenAddress()
	for _, f := range []struct {
		value    *string
		standard string
	}{
		{&c.AccessLog.Path, "-"},
		{&c.AccessLog.Format, accesslog.FormatJSON},
		{&c.Log.Level, "info"},
		{&c.Log.Format, "text"},
		{&c.DataDir, "./fairlead-data"},
	} {
		if *f.value == "" {
			*f.value = f.standard
		}
	}
}

// maxFile bounds fairlead.yaml, in bytes.
const maxFile = 1 << 20

// Load reads, expands and judges the file, and the certificates and users that it names.
// Without a path it returns Default. The error is an Errors.
func Load(path string) (*Config, error) {
	if path == "" {
		return Default(), nil
	}
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Err: err, Hint: "--config names the file; without it the defaults serve"}}
	}
	return Parse(path, data, os.LookupEnv)
}

// Parse is Load for a file already read. name stands in errors; getenv answers for `${NAME}`.
func Parse(name string, data []byte, getenv func(string) (string, bool)) (*Config, error) {
	if len(data) > maxFile {
		return nil, Errors{{File: name, Err: tooLarge(int64(len(data)))}}
	}
	src := &source{name: name, places: map[string]place{}, lines: bytes.Split(data, []byte("\n"))}
	c := &Config{src: src}
	if errs := src.decode(data, c, getenv); len(errs) > 0 {
		return nil, errs
	}
	c.fill()
	if errs := check(c); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the name stands before it already
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory, want a file")
	case info.Size() > maxFile:
		return nil, tooLarge(info.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func tooLarge(size int64) error {
	return fmt.Errorf("%d bytes, at most %d are read", size, maxFile)
}
