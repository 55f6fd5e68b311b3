package interop

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A question is one request that both registries are asked.
type question struct {
	name, method, path, body string
	header                   []string // "Name: value"
	differs                  string   // why the answers are not the same; they must differ then
}

const (
	asJSON, asXML = "Accept: application/json", "Accept: application/xml"
	inJSON, inXML = "Content-Type: application/json", "Content-Type: application/xml"
)

// Why answers differ.
const (
	counted  = "the gateway counts a change by others in lastDirtyTimestamp, so that peers can tell the newer state"
	zipsAll  = "the gateway compresses every answer for who asks for it, Netflix's server whole registries only"
	saysMore = "the gateway says what is wrong"
)

// sameQuestions are asked in their order: zowe.md, sections 4.2 and 4.6.
func sameQuestions() []question {
	nodeDoc := `{"instance":{"app":"hwexpress","vipAddress":"hwexpress","instanceId":"localhost:hwexpress:10020","homePageUrl":"https://localhost:10020/",
"hostName":"localhost","ipAddr":"127.0.0.1","secureVipAddress":"hwexpress","port":{"$":10020,"@enabled":false},"securePort":{"$":10020,"@enabled":"true"},
"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},
"metadata":{"apiml.routes.api_v1.gatewayUrl":"api/v1","apiml.routes.api_v1.serviceUrl":"/api/v1","version":"2.2.0"},"status":"UP"}}`
	javaDoc := `{"instance":{"instanceId":"h:java:8080","hostName":"java.example","app":"JAVA","ipAddr":"10.0.0.2","status":"STARTING","overriddenStatus":"UNKNOWN",
"port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"},"countryId":1,
"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},
"leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90,"registrationTimestamp":0,"lastRenewalTimestamp":0,"evictionTimestamp":0,"serviceUpTimestamp":0},
"metadata":{"@class":"java.util.Collections$EmptyMap"},"homePageUrl":"http://java.example:8080/","statusPageUrl":"http://java.example:8080/info",
"healthCheckUrl":"http://java.example:8080/health","vipAddress":"java,other","secureVipAddress":"java","isCoordinatingDiscoveryServer":"false",
"lastUpdatedTimestamp":"1700000000000","lastDirtyTimestamp":"1700000000000","appGroupName":"GROUP"}}`
	xmlDoc := `<instance><app>sampleclient</app><ipAddr>10.0.0.1</ipAddr><instanceId>host:sampleclient:10080</instanceId><hostName>host</hostName>
<port enabled="false">10080</port><securePort enabled="true">10080</securePort><vipAddress>sampleclient</vipAddress><secureVipAddress>sampleclient</secureVipAddress>
<dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"><name>MyOwn</name></dataCenterInfo>
<metadata><version>2.2.0</version><apiml.routes.ws__v1.gatewayUrl>ws/v1</apiml.routes.ws__v1.gatewayUrl><a.b_-c>x</a.b_-c></metadata></instance>`
	without := func(field string) string { // a document that lacks one
		var doc map[string]map[string]any
		_ = json.Unmarshal([]byte(javaDoc), &doc) // it is written above
		delete(doc["instance"], field)
		text, _ := json.Marshal(doc)
		return string(text)
	}
	node, java, sample := "apps/HWEXPRESS/localhost%3Ahwexpress%3A10020", "apps/JAVA/h:java:8080", "apps/SAMPLECLIENT/host:sampleclient:10080"
	all := []question{
		{name: "nothing there", method: "GET", path: "apps", header: []string{asJSON}},
		{name: "no such application", method: "GET", path: "apps/NONE", header: []string{asJSON}},
		{name: "no such instance", method: "GET", path: "apps/NONE/none", header: []string{asJSON}},
		{name: "no such id", method: "GET", path: "instances/none", header: []string{asJSON}},
		{name: "no such vip", method: "GET", path: "vips/none", header: []string{asJSON}},
		{name: "heartbeat of nobody", method: "PUT", path: "apps/NONE/none"},
		{name: "end of nobody", method: "DELETE", path: "apps/NONE/none"},
		{name: "status of nobody", method: "PUT", path: "apps/NONE/none/status?value=DOWN"},
		{name: "metadata of nobody", method: "PUT", path: "apps/NONE/none/metadata?a=b"},
		{name: "Node's registration, name in lower case", method: "POST", path: "apps/hwexpress", body: nodeDoc, header: []string{inJSON}},
		{name: "Java's registration", method: "POST", path: "apps/JAVA", body: javaDoc, header: []string{inJSON, asJSON}},
		{name: "Java's registration again", method: "POST", path: "apps/JAVA", body: strings.Replace(javaDoc, "STARTING", "UP", 1), header: []string{inJSON}},
		{
			name: "compressed", method: "POST", path: "apps/JAVA", body: zip(strings.Replace(javaDoc, "STARTING", "UP", 1)), header: []string{inJSON, "Content-Encoding: gzip"},
			differs: "Spring's server does not inflate what clients send, Netflix's does",
		},
		{name: "XML's registration", method: "POST", path: "apps/SAMPLECLIENT", body: xmlDoc, header: []string{inXML}},
		{name: "another application's name", method: "POST", path: "apps/OTHER", body: javaDoc, header: []string{inJSON}},
	}
	for _, field := range []string{"hostName", "ipAddr", "app", "dataCenterInfo"} {
		q := question{name: "without " + field, method: "POST", path: "apps/JAVA", body: without(field), header: []string{inJSON}}
		if field == "app" {
			q.differs = saysMore
		}
		all = append(all, q)
	}
	for _, accept := range []string{asJSON, asXML, "Accept: */*", "Accept: application/json, application/*+json"} {
		for _, path := range []string{"apps", "apps/", "apps/JAVA", "apps/HWEXPRESS", "apps/hwexpress", node, java, "instances/h:java:8080", "vips/java", "vips/other", "svips/java", "vips/none"} {
			for _, more := range []string{"", "X-Eureka-Accept: compact", "X-Eureka-Accept: full", "Accept-Encoding: gzip"} {
				if more != "" && (path != "apps" && path != "apps/JAVA" && path != "vips/java" || accept == "Accept: */*") {
					continue
				}
				header := []string{accept}
				if more != "" {
					header = append(header, more)
				}
				q := question{name: "read", method: "GET", path: path, header: header}
				if strings.HasSuffix(more, "gzip") && path != "apps" {
					q.differs = zipsAll
				}
				all = append(all, q)
			}
		}
	}
	all = append(
		all,
		question{name: "heartbeat without a query", method: "PUT", path: node},
		question{name: "heartbeat", method: "PUT", path: java + "?status=UP&lastDirtyTimestamp=1700000000000"},
		question{name: "heartbeat of a newer one", method: "PUT", path: java + "?status=UP&lastDirtyTimestamp=1800000000000"},
		question{name: "heartbeat of an older one", method: "PUT", path: java + "?status=UP&lastDirtyTimestamp=1600000000000"},
		question{name: "replicated heartbeat of an older one", method: "PUT", path: java + "?status=UP&lastDirtyTimestamp=1600000000000", header: []string{asJSON, "x-netflix-discovery-replication: true"}},
		question{name: "delta", method: "GET", path: "apps/delta", header: []string{asJSON}},
		question{name: "delta in XML", method: "GET", path: "apps/delta", header: []string{asXML}},
		question{name: "registration for the batch", method: "POST", path: "apps/BATCH", body: strings.NewReplacer("JAVA", "BATCH", "java", "batch", "STARTING", "UP").Replace(javaDoc), header: []string{inJSON}},
		question{name: "batch", method: "POST", path: "peerreplication/batch/", header: []string{inJSON, asJSON}, body: `{"replicationList":[
{"appName":"BATCH","id":"h:batch:8080","lastDirtyTimestamp":1700000000000,"status":"UP","action":"Heartbeat"},
{"appName":"BATCH","id":"h:batch:8080","lastDirtyTimestamp":1700000000009,"status":"UP","action":"Heartbeat"},
{"appName":"NONE","id":"none","lastDirtyTimestamp":1,"status":"UP","action":"Heartbeat"},
{"appName":"NONE","id":"none","action":"Cancel"},
{"appName":"BATCH","id":"h:batch:8080","lastDirtyTimestamp":1700000000001,"status":"DOWN","action":"StatusUpdate"}]}`},
		question{name: "after the batch", method: "GET", path: "apps/BATCH", header: []string{asJSON}},
		question{name: "batch that takes it back", method: "POST", path: "peerreplication/batch/", header: []string{inJSON, asJSON}, body: `{"replicationList":[
{"appName":"BATCH","id":"h:batch:8080","lastDirtyTimestamp":1700000000002,"status":"UP","action":"DeleteStatusOverride"}]}`},
		question{name: "after that batch", method: "GET", path: "apps/BATCH", header: []string{asJSON}},
		question{name: "batch that ends it", method: "POST", path: "peerreplication/batch/", header: []string{inJSON, asJSON}, body: `{"replicationList":[
{"appName":"BATCH","id":"h:batch:8080","action":"Cancel"},{"appName":"BATCH","id":"h:batch:8080","action":"Cancel"}]}`},
		question{name: "status", method: "PUT", path: java + "/status?value=OUT_OF_SERVICE"},
		question{name: "after the status", method: "GET", path: java, header: []string{asJSON}, differs: counted},
		question{name: "status, compact", method: "GET", path: "apps", header: []string{asJSON, "X-Eureka-Accept: compact"}},
		question{name: "overrides", method: "GET", path: "serverinfo/statusoverrides", header: []string{asJSON}, differs: "Spring's server has not mounted it"},
		question{name: "status taken back", method: "DELETE", path: java + "/status?value=UP"},
		question{name: "after it was taken back", method: "GET", path: java, header: []string{asJSON}, differs: counted},
		question{name: "status taken back without a value", method: "DELETE", path: node + "/status"},
		question{name: "after that", method: "GET", path: node, header: []string{asJSON}},
		question{name: "metadata", method: "PUT", path: java + "/metadata?k=v&l=w"},
		question{name: "after the metadata", method: "GET", path: java, header: []string{asJSON}, differs: "that, and a change of metadata is MODIFIED, and in the delta: clients would not learn of it"},
		question{name: "the end", method: "DELETE", path: sample},
		question{name: "the end again", method: "DELETE", path: sample},
		question{name: "after the end", method: "GET", path: sample, header: []string{asJSON}},
		question{name: "delta after the end", method: "GET", path: "apps/delta", header: []string{asJSON}, differs: "for the same reasons"},
		question{name: "no JSON", method: "POST", path: "apps/JAVA", body: "{", header: []string{inJSON, asJSON}, differs: saysMore},
		question{name: "no XML", method: "POST", path: "apps/JAVA", body: "<", header: []string{inXML, asXML}, differs: saysMore},
		question{name: "no method", method: "POST", path: "apps", header: []string{asJSON}},
		question{name: "no resource", method: "GET", path: "nothing", header: []string{asJSON}},
	)
	return all
}

func zip(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // a bytes.Buffer does not fail
	_ = z.Close()
	return b.String()
}

// The gateway's registry and Spring Cloud's Eureka server answer the same requests alike, but where the test says why not.
func TestSpringRegistrySame(t *testing.T) {
	requireInterop(t)
	jar := absolute(t, "spring-registry/target/springregistry.jar")
	if _, err := os.Stat(jar); err != nil {
		t.Skipf("%v: `make interop` could not package it, Maven Central was not there", err)
	}
	dir, ports := t.TempDir(), freePorts(t, 2)
	own, theirs := "http://127.0.0.1:"+ports[0]+"/eureka/", "http://127.0.0.1:"+ports[1]+"/eureka/"
	writeFile(t, filepath.Join(dir, "fairlead.yaml"), fmt.Sprintf(`
gateway: {listeners: [{name: http, address: "127.0.0.1:0"}]}
registry: {address: "127.0.0.1:%s"}
dataDir: data
`, ports[0]))
	gateway := start(t, command{name: "fairlead run", dir: dir, argv: []string{binary(t), "run", "--config", "fairlead.yaml"}})
	server := start(t, command{
		name: "spring registry", env: []string{"PORT=" + ports[1], "PEER_URL=http://127.0.0.1:9/eureka/", "REGISTER=false"},
		argv: []string{"java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-jar", jar},
	})
	waitFor(t, "both registries", springStart, []*process{gateway, server}, func() error {
		_, err := printed(t, own)
		_, other := printed(t, theirs)
		return errors.Join(err, other)
	})
	asked := 0
	for _, q := range sameQuestions() {
		asked++
		ours, spring := q.ask(t, own), q.ask(t, theirs)
		what := fmt.Sprintf("%s: %s %s %s", q.name, q.method, q.path, strings.Join(q.header, ", "))
		switch same := ours == spring; {
		case !same && q.differs == "":
			ours, spring = apart(ours, spring)
			t.Errorf("%s\n   gateway: %s\n   spring:  %s", what, ours, spring)
		case same && q.differs != "":
			t.Errorf("%s: is the same, but said to differ: %s", what, q.differs)
		}
	}
	t.Logf("%d questions", asked)
}

// apart cuts two texts to where they differ first.
func apart(a, b string) (string, string) {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	cut := func(s string) string { return fmt.Sprintf("…%s…", s[max(0, n-60):min(len(s), n+160)]) }
	return a[:min(len(a), 30)] + cut(a), b[:min(len(b), 30)] + cut(b)
}

// ask gives the answer in a form that does not depend on the order of members or on the time.
func (q question) ask(t *testing.T, base string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), q.method, base+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	for _, h := range q.header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := http.Client{Timeout: wait}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	encoding := resp.Header.Get("Content-Encoding")
	if encoding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	if isBootPage(body) {
		body = nil
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case len(body) == 0:
		kind, encoding = "", ""
	case resp.StatusCode == http.StatusBadRequest && kind == "application/xml" && body[0] != '<':
		kind = "text/plain" // Spring's server gives bare text its default type
	}
	return fmt.Sprintf("%d %s %s %s", resp.StatusCode, kind, encoding, timeless(t, kind, body))
}

// isBootPage tells Spring Boot's own error document, which stands where Eureka has no body.
func isBootPage(body []byte) bool {
	var page struct{ Error, Path, Timestamp string }
	return json.Unmarshal(body, &page) == nil && page.Error != "" && page.Path != "" && page.Timestamp != ""
}

// timeless is a document without what changes from one moment to the next.
func timeless(t *testing.T, kind string, body []byte) string {
	t.Helper()
	var v any
	switch kind {
	case "application/json":
		if err := json.Unmarshal(body, &v); err != nil {
			return fmt.Sprintf("%q", body)
		}
	case "application/xml":
		d := xml.NewDecoder(bytes.NewReader(body))
		var err error
		if v, err = tree(d, nil); err != nil || len(v.(map[string]any)) == 0 {
			return fmt.Sprintf("%q", body)
		}
	default:
		return fmt.Sprintf("%q", body)
	}
	text, err := json.Marshal(settle(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settle replaces times and sorts lists, where the order says nothing.
func settle(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			switch key {
			case "lastRenewalTimestamp", "registrationTimestamp", "serviceUpTimestamp", "evictionTimestamp", "lastUpdatedTimestamp":
				v[key] = "time"
			case "lastDirtyTimestamp":
				if text := strings.Trim(fmt.Sprint(value), "[]"); !strings.HasPrefix(text, "17000000") && !strings.HasPrefix(text, "1.7000000") {
					v[key] = "time"
				}
			case "responseList": // its order says which change is answered
			case "versions__delta":
				v[key] = "number"
			default:
				v[key] = settle(value)
			}
		}
	case []any:
		for n := range v {
			v[n] = settle(v[n])
		}
		slices.SortFunc(v, func(a, b any) int {
			one, _ := json.Marshal(a)
			other, _ := json.Marshal(b)
			return bytes.Compare(one, other)
		})
		return slices.CompactFunc(v, func(a, b any) bool { // Netflix's delta has an instance as often as it has changed
			return fmt.Sprint(a) == fmt.Sprint(b)
		})
	}
	return v
}

// tree reads an XML element as a map of its children, each a list, and of its attributes; or its text if it has neither.
func tree(d *xml.Decoder, start *xml.StartElement) (any, error) {
	children, text := map[string]any{}, ""
	if start != nil {
		for _, a := range start.Attr {
			children["@"+a.Name.Local] = a.Value
		}
	}
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && start == nil:
			return children, nil
		case err != nil:
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			child, err := tree(d, &token)
			if err != nil {
				return nil, err
			}
			list, _ := children[token.Name.Local].([]any)
			children[token.Name.Local] = append(list, child)
		case xml.CharData:
			text += string(token)
		case xml.EndElement:
			if len(children) == 0 {
				return strings.TrimSpace(text), nil
			}
			if text = strings.TrimSpace(text); text != "" {
				children["#"] = text
			}
			return children, nil
		}
	}
}
