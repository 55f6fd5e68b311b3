package main

import (
	"os"
	"path/filepath"

	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
)

// startDemoGateway starts a gateway as `fairlead run` without a file would, on the demo's addresses.
func startDemoGateway(s demoSettings) (*demoGateway, error) {
	conf, err := config.Load("")
	if err != nil {
		return nil, err
	}
	conf.DataDir = s.DataDir
	conf.Gateway.Listeners = []proxy.ListenerConfig{
		{Name: "https", Address: s.HTTPS, TLS: &proxy.TLSConfig{}},
		{Name: "http", Address: s.HTTP},
	}
	conf.Registry.Address = s.Registry
	conf.Log.Level = "warn" // the access log is what the demo shows
	if s.Quiet {
		conf.AccessLog.Path = filepath.Join(s.DataDir, "access.log")
	}
	g, err := startGateway(conf, nil, os.Stdout, os.Stderr)
	if err != nil {
		return nil, err
	}
	return &demoGateway{
		HTTPS: g.server.Address("https"), HTTP: g.server.Address("http"), Registry: g.registryListener.Addr().String(),
		CertFile: filepath.Join(s.DataDir, proxy.GeneratedCertFile),
		Failed:   g.failed, Stop: g.stop,
	}, nil
}
