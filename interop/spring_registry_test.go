package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Spring Cloud's Netflix Eureka server and the gateway's registry are each other's peers: what is said to one is known to
// both, and a server that was away has everything again. The server is a client of the gateway's registry too, and a second
// gateway is a client of the server.
func TestSpringRegistry(t *testing.T) {
	requireInterop(t)
	jar := absolute(t, "spring-registry/target/springregistry.jar")
	if _, err := os.Stat(jar); err != nil {
		t.Skipf("%v: `make interop` could not package it, Maven Central was not there", err)
	}
	dir, ports := t.TempDir(), freePorts(t, 4)
	own, theirs := "http://127.0.0.1:"+ports[1]+"/eureka/", "http://127.0.0.1:"+ports[3]+"/eureka/"
	config := filepath.Join(dir, "fairlead.yaml")
	writeFile(t, config, fmt.Sprintf(`
gateway: {listeners: [{name: http, address: "127.0.0.1:%s"}]}
registry: {address: "127.0.0.1:%s", peers: [%q], selfPreservation: false}
dataDir: data
`, ports[0], ports[1], theirs))
	gateway := start(t, command{name: "fairlead run", dir: dir, argv: []string{binary(t), "run", "--config", config}})
	registered(t, own, "before", `,"metadata":{"said":"to the gateway"}`)
	server := startSpringRegistry(t, jar, ports[3], own)
	alive := []*process{gateway, server}

	client := t.TempDir()
	config = filepath.Join(client, "fairlead.yaml")
	writeFile(t, config, fmt.Sprintf(`
gateway: {listeners: [{name: http, address: "127.0.0.1:%s"}]}
registry: {enabled: false}
eureka: {serviceUrls: [%q], fetchInterval: 1s, hostName: client.example}
dataDir: data
`, ports[2], theirs))
	alive = append(alive, start(t, command{name: "fairlead run as a client", dir: client, argv: []string{binary(t), "run", "--config", config}}))

	// The server has read the gateway's registry at its start, and registered itself there; the client has with the server.
	same(t, alive, springStart, own, theirs, "BEFORE/before=UP", "EUREKASERVER/spring.example:eurekaserver:"+ports[3]+"=UP",
		"GATEWAY/client.example:gateway:"+ports[2]+"=UP")
	rest := []string{"EUREKASERVER/spring.example:eurekaserver:" + ports[3] + "=UP", "GATEWAY/client.example:gateway:" + ports[2] + "=UP"}

	registered(t, theirs, "there", "")
	registered(t, own, "here", "")
	same(t, alive, springStart, own, theirs, append(rest, "BEFORE/before=UP", "HERE/here=UP", "THERE/there=UP")...)
	told(t, http.MethodPut, own+"apps/THERE/there/status?value=OUT_OF_SERVICE")
	told(t, http.MethodPut, theirs+"apps/HERE/here/status?value=DOWN")
	told(t, http.MethodDelete, theirs+"apps/BEFORE/before")
	same(t, alive, springStart, own, theirs, append(rest, "HERE/here=DOWN", "THERE/there=OUT_OF_SERVICE")...)
	told(t, http.MethodDelete, own+"apps/THERE/there/status?value=UP")
	told(t, http.MethodDelete, theirs+"apps/HERE/here/status?value=UP")
	same(t, alive, springStart, own, theirs, append(rest, "HERE/here=UP", "THERE/there=UP")...)
	told(t, http.MethodPut, own+"apps/HERE/here?status=UP") // heartbeats count there
	told(t, http.MethodDelete, own+"apps/THERE/there")
	same(t, alive, springStart, own, theirs, append(rest, "HERE/here=UP")...)

	// While the server is away, the gateway's registry hears of one and of the end of another.
	server.terminate()
	registered(t, own, "meanwhile", "")
	told(t, http.MethodDelete, own+"apps/HERE/here")
	server = startSpringRegistry(t, jar, ports[3], own)
	same(t, []*process{gateway, server}, springStart, own, theirs, append(rest, "MEANWHILE/meanwhile=UP")...)
}

func startSpringRegistry(t *testing.T, jar, port, peer string) *process {
	t.Helper()
	return start(t, command{
		name: "spring registry",
		env:  []string{"PORT=" + port, "PEER_URL=" + peer, "REGISTER=true"},
		argv: []string{"java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-jar", jar},
	})
}

// registered registers an instance of the service of the same name.
func registered(t *testing.T, base, name, more string) {
	t.Helper()
	doc := fmt.Sprintf(`{"instance":{"app":%q,"instanceId":%q,"hostName":"localhost","ipAddr":"127.0.0.1","vipAddress":%q,"status":"UP",
"port":{"$":1,"@enabled":"true"},"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},
"leaseInfo":{"renewalIntervalInSecs":60,"durationInSecs":600}%s}}`, strings.ToUpper(name), name, name, more)
	waitFor(t, "the registration of "+name, wait, nil, func() error {
		resp, err := http.Post(base+"apps/"+strings.ToUpper(name), "application/json", strings.NewReader(doc))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
			return fmt.Errorf("%d: %s", resp.StatusCode, text)
		}
		return nil
	})
}

// told makes a call without a body, which must be answered 200.
func told(t *testing.T, method, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// same waits until both registries print what is wanted, and nothing else.
func same(t *testing.T, alive []*process, limit time.Duration, own, theirs string, want ...string) {
	t.Helper()
	slices.Sort(want)
	waitFor(t, "both registries to have "+strings.Join(want, " "), limit, alive, func() error {
		for _, base := range []string{own, theirs} {
			got, err := printed(t, base)
			if err != nil {
				return err
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s has %v", base, got)
			}
		}
		return nil
	})
}

// printed is what a registry prints, as APP/id=STATUS.
func printed(t *testing.T, base string) (all []string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"apps/", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Applications struct {
			Application []struct {
				Name     string
				Instance []instance
			}
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, err
	}
	for _, app := range answer.Applications.Application {
		for _, i := range app.Instance {
			all = append(all, app.Name+"/"+i.ID+"="+i.Status)
		}
	}
	slices.Sort(all)
	return all, nil
}
