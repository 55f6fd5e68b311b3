package interop

import (
	"crypto/tls"
	"net/http"
	"testing"
)

// TLS to services.
func TestGatewayBackendTLS(t *testing.T) {
	m := newManifests(t)
	conf := &tls.Config{
		Certificates: []tls.Certificate{m.ca.issue(t, "service.example", "spiffe://example/service").tls},
		ClientAuth:   tls.RequestClientCert, NextProtos: []string{"http/1.1"},
	}
	for _, name := range []string{"good", "wrong-name", "wrong-ca", "no-ca", "san", "wrong-san", "alb", "wrong-alb"} {
		m.service(name, "", startEcho(t, name, conf).address)
	}
	m.service("wss", "kubernetes.io/wss", startEcho(t, "wss", conf).address)
	m.echo("plain")
	m.values["SECURE"] = startEcho(t, "backend", conf).address
	m.object(m.ca.configMap("services"))
	m.object(m.ca.caSecret("services-secret"))
	m.object(newAuthority(t).configMap("strangers"))
	m.object(m.ca.issue(t, "the gateway").secret("gateway"))
	m.object(m.ca.issue(t, "as AGC says").secret("agc-client"))
	m.file("backends.yaml")
	m.start("80")

	t.Run("BackendTLSPolicy", func(t *testing.T) {
		m.serves(t, "http://any.example/good", "good")
		if got := m.get(t, "http://any.example/good", http.StatusOK).saw.ServerName; got != "service.example" {
			t.Errorf("the service is called %q", got)
		}
		m.refuses(t, "http://any.example/wrong-name", http.StatusBadGateway)
		m.refuses(t, "http://any.example/wrong-ca", http.StatusBadGateway)
		m.refuses(t, "http://any.example/no-ca", http.StatusInternalServerError)
		m.serves(t, "http://any.example/plain", "plain")
	})
	t.Run("BackendTLSPolicySANValidation", func(t *testing.T) {
		m.serves(t, "http://any.example/san", "san")
		if got := m.get(t, "http://any.example/san", http.StatusOK).saw.ServerName; got != "sni.example" {
			t.Errorf("the service is called %q", got)
		}
		m.refuses(t, "http://any.example/wrong-san", http.StatusBadGateway)
	})
	t.Run("GatewayBackendClientCertificate", func(t *testing.T) {
		s := m.open(t, "ws://any.example/good")
		for _, saw := range []seen{m.get(t, "http://any.example/good", http.StatusOK).saw, s.saw} {
			if saw.Client != "the gateway" {
				t.Errorf("the service's client is %q", saw.Client)
			}
		}
	})
	t.Run("wss", func(t *testing.T) {
		s := m.open(t, "ws://any.example/wss")
		if s.saw.Service != "wss" || s.saw.ServerName != "service.example" {
			t.Errorf("%+v", s.saw)
		}
	})
	t.Run("alb BackendTLSPolicy", func(t *testing.T) {
		m.serves(t, "http://any.example/alb", "alb")
		if saw := m.get(t, "http://any.example/alb", http.StatusOK).saw; saw.ServerName != "service.example" || saw.Client != "as AGC says" {
			t.Errorf("the service is called %q by %q", saw.ServerName, saw.Client)
		}
		m.refuses(t, "http://any.example/wrong-alb", http.StatusBadGateway)
	})
	t.Run("Backend", func(t *testing.T) {
		m.serves(t, "http://any.example/backend", "backend")
		if saw := m.get(t, "http://any.example/backend", http.StatusOK).saw; saw.ServerName != "service.example" {
			t.Errorf("the service is called %q", saw.ServerName)
		}
	})
}
