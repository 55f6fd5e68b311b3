package interop

import (
	"net"
	"net/http"
	"strconv"
	"testing"
)

// Where Gateways listen, and which routes each of their listeners has.
func TestGatewayAddresses(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.echo("two")
	second := loopback()
	ports := freePorts(t, 2)
	free := number(t, ports[0])
	m.values["FREE_PORT2"] = strconv.Itoa(number(t, ports[1]) - portOffset)
	m.echo("blue/far")
	m.echo("red/far")
	choosy := loopback()
	m.values["ADDRESS2"], m.values["ADDRESS3"], m.values["FREE_PORT"] = second, choosy, strconv.Itoa(free-portOffset)
	m.file("addresses.yaml")
	m.start("80", "8081", second+":80", choosy+":80")
	m.prints(t, "address=tcp/:"+ports[0], wait)
	m.prints(t, "address=tcp/[::1]:"+ports[1], wait)

	t.Run("GatewayStaticAddresses", func(t *testing.T) {
		m.serves(t, "http://any.example/all", "one")
		m.serves(t, "http://"+second+"/all", "two")
		waitFor(t, "the condition of the address that cannot be had", wait, nil, func() error {
			return m.condition("Gateway", "default/unusable", "Programmed", "False", "AddressNotUsable")
		})
		if err := m.condition("Gateway", "default/static", "Programmed", "True", "Programmed"); err != nil {
			t.Error(err)
		}
	})
	t.Run("IPv6", func(t *testing.T) {
		resp, err := http.Get("http://[::1]:" + ports[1] + "/all")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
	t.Run("GatewayAddressEmpty", func(t *testing.T) {
		for _, address := range []string{"127.0.0.1", loopback()} {
			resp, err := http.Get("http://" + net.JoinHostPort(address, strconv.Itoa(free)) + "/all")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d", address, resp.StatusCode)
			}
		}
		if err := m.condition("Gateway", "default/anywhere", "Programmed", "True", "Programmed"); err != nil {
			t.Error(err)
		}
	})
	t.Run("GatewayHTTPListenerIsolation", func(t *testing.T) {
		// The listener with the longest hostname has the request, and its routes alone.
		for host, path := range map[string]string{"any.example": "/all", "two.isolated.example": "/wild", "one.isolated.example": "/exact"} {
			m.serves(t, "http://"+host+path, "one")
			for _, other := range []string{"/all", "/wild", "/exact"} {
				if other != path {
					m.refuses(t, "http://"+host+other, http.StatusNotFound)
				}
			}
		}
	})
	t.Run("ListenerSet", func(t *testing.T) {
		m.serves(t, "http://team.example:8081/", "two")
		m.refuses(t, "http://team.example/", http.StatusNotFound)
		m.refuses(t, "http://other.example:8081/", http.StatusNotFound)
		if conn, err := net.Dial("tcp", m.at("8082")); err == nil {
			conn.Close()
			t.Error("a ListenerSet of a namespace that is not allowed has its port")
		}
		if err := m.condition("ListenerSet", "other/stranger", "Accepted", "False", "NotAllowed"); err != nil {
			t.Error(err)
		}
	})
	t.Run("allowedRoutes", func(t *testing.T) {
		at := "http://" + choosy
		m.serves(t, at+"/", "far", "Host", "labelled.example")
		m.serves(t, at+"/", "far", "Host", "all.example")
		m.serves(t, at+"/red", "far", "Host", "all.example")
		m.refuses(t, at+"/", http.StatusNotFound, "Host", "grpc.example")
		m.serves(t, at+"/", "one", "Host", "own.example") // of a route that names no Gateway
		for name, want := range map[string]int{"blue": 1, "red": 0} {
			requests := 0
			for _, s := range m.echoes[name+"/far"].requests("/") {
				if s.Host == "labelled.example" {
					requests++
				}
			}
			if (requests > 0) != (want > 0) {
				t.Errorf("namespace %s has %d requests for labelled.example", name, requests)
			}
		}
	})
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
