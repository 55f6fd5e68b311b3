package eureka

import (
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// nodeDocument is what the Node.js enabler sends.
const nodeDocument = `{"instance":{"app":"hwexpress","vipAddress":"hwexpress","instanceId":"localhost:hwexpress:10020","homePageUrl":"https://localhost:10020/",
 "hostName":"localhost","ipAddr":"127.0.0.1","secureVipAddress":"hwexpress",
 "port":{"$":10020,"@enabled":false},"securePort":{"$":10020,"@enabled":"true"},
 "dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},
 "metadata":{"apiml.routes.api_v1.gatewayUrl":"api/v1","apiml.routes.api_v1.serviceUrl":"/api/v1","apiml.apiInfo.0.apiId":"org.zowe.hwexpress"},
 "status":"UP"}}`

// xmlDocument is the documented raw registration.
const xmlDocument = `<?xml version="1.0" encoding="UTF-8"?>
<instance><app>sampleclient</app><ipAddr>10.0.0.1</ipAddr><instanceId>host:sampleclient:10080</instanceId><hostName>host</hostName>
<port enabled="false">10080</port><securePort enabled="true">10080</securePort><vipAddress>sampleclient</vipAddress><secureVipAddress>sampleclient</secureVipAddress>
<dataCenterInfo><name>MyOwn</name></dataCenterInfo>
<metadata><apiml.routes.ws__v1.gatewayUrl>ws/v1</apiml.routes.ws__v1.gatewayUrl><apiml.routes.ws__v1.serviceUrl>/sampleclient/ws</apiml.routes.ws__v1.serviceUrl></metadata></instance>`

// springDocument is what Spring Cloud sends.
const springDocument = `{"instance":{"instanceId":"localhost:discoverableclient:10012","hostName":"localhost","app":"DISCOVERABLECLIENT","ipAddr":"127.0.0.1",
 "status":"UP","overriddenStatus":"UNKNOWN",
 "port":{"$":10012,"@enabled":"false"},"securePort":{"$":10012,"@enabled":"true"},"countryId":1,
 "dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},
 "leaseInfo":{"renewalIntervalInSecs":10,"durationInSecs":40,"registrationTimestamp":0,"lastRenewalTimestamp":0,"evictionTimestamp":0,"serviceUpTimestamp":0},
 "metadata":{"apiml.routes.ws-v1.gatewayUrl":"ws/v1","apiml.routes.ws-v1.serviceUrl":"/discoverableclient/ws","management.port":"10012"},
 "homePageUrl":"https://localhost:10012/discoverableclient","statusPageUrl":"https://localhost:10012/discoverableclient/application/info",
 "healthCheckUrl":"https://localhost:10012/h","secureHealthCheckUrl":"https://localhost:10012/s","vipAddress":"discoverableclient","secureVipAddress":"discoverableclient",
 "isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1700000000000","lastDirtyTimestamp":"1699999999000","actionType":"ADDED",
 "notKnown":{"a":[1,2]}}}`

// pythonDocument is what py_eureka_client sends: text where others have numbers.
const pythonDocument = `{"instance":{"instanceId":"h:py:8080","hostName":"h","app":"PY","ipAddr":"10.0.0.2","status":"UP","overriddenstatus":"",
 "port":{"$":"8080","@enabled":"true"},"securePort":{"$":9443,"@enabled":"false"},"countryId":"1",
 "dataCenterInfo":{"@class":"com.netflix.appinfo.MyDataCenterInfo","name":"MyOwn"},
 "leaseInfo":{"renewalIntervalInSecs":"30","durationInSecs":"90","registrationTimestamp":"0"},
 "metadata":{"management.port":8080,"secure":true,"none":null,"list":[1, "a"]},
 "homePageUrl":"http://h:8080/","vipAddress":"py","secureVipAddress":"py",
 "isCoordinatingDiscoveryServer":"false","lastUpdatedTimestamp":"1700000000000","lastDirtyTimestamp":1.7e12}}`

func mustJSON(t testing.TB, doc string) *Instance {
	t.Helper()
	i, err := parseJSONInstance([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func mustXML(t testing.TB, doc string) *Instance {
	t.Helper()
	i, err := parseXMLInstance([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestDocumentsOfRealClients(t *testing.T) {
	node := mustJSON(t, nodeDocument)
	if node.App != "HWEXPRESS" || node.Port != (Port{10020, false}) || node.SecurePort != (Port{10020, true}) || !node.Secure() {
		t.Errorf("node: %+v", node)
	}
	if len(node.Metadata) != 3 || node.Metadata["apiml.routes.api_v1.serviceUrl"] != "/api/v1" {
		t.Errorf("node metadata: %v", node.Metadata)
	}
	x := mustXML(t, xmlDocument)
	if x.App != "SAMPLECLIENT" || x.Status != Up || x.SecurePort != (Port{10080, true}) || x.DataCenter.Name != "MyOwn" ||
		x.Metadata["apiml.routes.ws_v1.gatewayUrl"] != "ws/v1" || x.Metadata["apiml.routes.ws_v1.serviceUrl"] != "/sampleclient/ws" {
		t.Errorf("xml: %+v", x)
	}
	spring := mustJSON(t, springDocument)
	if spring.Lease.Duration != 40 || spring.LastDirty != 1699999999000 || spring.CountryID != 1 || spring.ServiceID() != "discoverableclient" {
		t.Errorf("spring: %+v", spring)
	}
	py := mustJSON(t, pythonDocument)
	want := map[string]string{"management.port": "8080", "secure": "true", "none": "", "list": `[1,"a"]`}
	if !reflect.DeepEqual(py.Metadata, want) {
		t.Errorf("python metadata: %v, want %v", py.Metadata, want)
	}
	if py.Port != (Port{8080, true}) || py.Overridden != Unknown || py.LastDirty != 1700000000000 || py.Lease.Duration != 90 {
		t.Errorf("python: %+v", py)
	}
}

func TestTolerances(t *testing.T) {
	for _, tt := range []struct {
		name, doc string
		ok        func(i *Instance) bool
	}{
		{"no ports", `{"instance":{}}`, func(i *Instance) bool {
			return i.Port == Port{7001, true} && i.SecurePort == Port{7002, false}
		}},
		{"xml no ports", `<instance/>`, func(i *Instance) bool {
			return i.Port == Port{7001, true} && i.SecurePort == Port{7002, false}
		}},
		{"xml no enabled", `<instance><port>80</port><securePort>443</securePort></instance>`, func(i *Instance) bool {
			return i.Port == Port{80, true} && i.SecurePort == Port{443, false}
		}},
		{"bare port", `{"port":"80","securePort":443}`, func(i *Instance) bool {
			return i.Port == Port{80, true} && i.SecurePort == Port{443, false}
		}},
		{"unknown status", `{"instance":{"status":"up","overriddenStatus":"DOWN"}}`, func(i *Instance) bool {
			return i.Status == Unknown && i.Overridden == Down
		}},
		{"no status", `{"instance":{"status":null}}`, func(i *Instance) bool { return i.Status == Up }},
		{"xml other spelling", `<instance><overriddenStatus>OUT_OF_SERVICE</overriddenStatus></instance>`, func(i *Instance) bool {
			return i.Overridden == OutOfService
		}},
		{"empty map class", `{"instance":{"metadata":{"@class":"java.util.Collections$EmptyMap"}}}`, func(i *Instance) bool {
			return i.Metadata != nil && len(i.Metadata) == 0
		}},
		{"xml empty map class", `<instance><metadata class="java.util.Collections$EmptyMap"/></instance>`, func(i *Instance) bool {
			return i.Metadata != nil && len(i.Metadata) == 0
		}},
		{"xml names", `<instance><metadata><a__b_-c_.0020d>1</a__b_-c_.0020d><ws_v1>2</ws_v1><x_>3</x_></metadata></instance>`, func(i *Instance) bool {
			return i.Metadata["a_b$c d"] == "1" && i.Metadata["ws_v1"] == "2" && i.Metadata["x_"] == "3"
		}},
		{"byte order mark", "\ufeff" + `{"instance":{"app":"a"}}`, func(i *Instance) bool { return i.App == "A" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parse := parseJSONInstance
			if strings.HasPrefix(tt.doc, "<") {
				parse = parseXMLInstance
			}
			i, err := parse([]byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.ok(i) {
				t.Errorf("%+v", i)
			}
		})
	}
}

func TestRefusedDocuments(t *testing.T) {
	for _, doc := range []string{
		``, `{`, `[]`, `{"instance":null}`, `{"instance":[]}`, `{"instance":{"port":{"$":70000}}}`,
		`{"instance":{"port":{"$":"x"}}}`, `{"instance":{"app":{}}}`, `{"instance":{"metadata":[]}}`,
		`{"instance":{"lastDirtyTimestamp":"soon"}}`, `{"instance":{"isCoordinatingDiscoveryServer":"maybe"}}`, `{"instance":{}} x`,
		`<instance>`, `<instance></other>`, `<a/>`, `<instance/><instance/>`, `<instance><port>-1</port></instance>`,
		`<!DOCTYPE instance [<!ENTITY a "b">]><instance><app>&a;</app></instance>`, `<instance><app>&a;</app></instance>`,
		`<instance><metadata><a><b>c</b></a></metadata></instance>`, `<instance>` + strings.Repeat("<a>", 20), `x<instance/>`,
		`<instance>` + strings.Repeat("<a/>", maxInstanceElements) + `</instance>`,
	} {
		parse := parseJSONInstance
		if strings.Contains(doc, "<") {
			parse = parseXMLInstance
		}
		if i, err := parse([]byte(doc)); err == nil {
			t.Errorf("%s: %+v, want an error", doc, i)
		}
	}
}

func TestOneElementWithoutItsArray(t *testing.T) {
	for _, doc := range []string{
		`{"applications":{"versions__delta":2,"apps__hashcode":"UP_1_","application":{"name":"a","instance":{"instanceId":"i"}}}}`,
		`{"applications":{"versions__delta":"2","apps__hashcode":"UP_1_","application":[{"name":"A","instance":[{"instanceId":"i"}]}]}}`,
		`<applications><versions__delta>2</versions__delta><apps__hashcode>UP_1_</apps__hashcode><application><name>A</name><instance><instanceId>i</instanceId></instance></application></applications>`,
	} {
		a, err := readApplications(strings.NewReader(doc))
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if a.Version != "2" || a.Hash != "UP_1_" || len(a.Apps) != 1 || a.Apps[0].Name != "A" || len(a.Apps[0].Instances) != 1 {
			t.Errorf("%s: %+v", doc, a)
		}
	}
}

// sameBothWays holds the law of the codecs: what is written reads back the same, in both formats.
func sameBothWays(t *testing.T, i *Instance) {
	t.Helper()
	j := appendJSONInstance(nil, i)
	fromJSON, err := parseJSONInstance(j)
	if err != nil {
		t.Fatalf("JSON %s: %v", j, err)
	}
	x := appendXMLInstance(nil, i, false)
	fromXML, err := parseXMLInstance(x)
	if err != nil {
		t.Fatalf("XML %s: %v", x, err)
	}
	if !reflect.DeepEqual(i, fromJSON) {
		t.Errorf("JSON %s\n got %+v\nwant %+v", j, fromJSON, i)
	}
	if !reflect.DeepEqual(i, fromXML) {
		t.Errorf("XML %s\n got %+v\nwant %+v", x, fromXML, i)
	}
	d := xml.NewDecoder(strings.NewReader(string(x))) // a strict reader, with namespaces
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("XML %s: %v", x, err)
		}
	}
}

// whole makes an instance that came from the wire one that a registry would hold.
func whole(i *Instance) *Instance {
	i.hasDataCenter = true
	return i
}

func TestBothFormatsKeepEverything(t *testing.T) {
	for _, doc := range []string{nodeDocument, springDocument, pythonDocument} {
		sameBothWays(t, whole(mustJSON(t, doc)))
	}
	i := mustXML(t, xmlDocument)
	sameBothWays(t, whole(i))
	i.Metadata = map[string]string{
		"a:b": " x\r\ny\t", "0": "<&>\"'", "$_-__": "", "ключ": "значение", "xml": "]]>", "\U0001F600 _.0041": "\U0001F600", "_.": "_", ".": "",
	}
	i.DataCenter = DataCenter{Name: dataCenterAmazon, Metadata: map[string]string{"instance-id": "i-1"}}
	i.Labels = Labels{SID: "na", AppGroup: "g", ASG: "asg", CountryID: 7, Coordinating: true}
	i.Action, i.Overridden = Modified, OutOfService
	sameBothWays(t, i)
	i.Metadata = map[string]string{}
	sameBothWays(t, i)
}

func FuzzJSON(f *testing.F) {
	for _, doc := range []string{nodeDocument, springDocument, pythonDocument, `{}`, `{"instance":{"metadata":{"a_b":"\u0000"}}}`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := parseJSONInstance(data)
		if err == nil && check(i) == nil {
			sameBothWays(t, whole(i))
		}
	})
}

func FuzzXML(f *testing.F) {
	for _, doc := range []string{xmlDocument, `<instance><metadata><_.d83d_.de00>x</_.d83d_.de00></metadata></instance>`, `<instance><dataCenterInfo><name>MyOwn</name></dataCenterInfo><metadata><a:b> </a:b><c><![CDATA[<]]></c></metadata></instance>`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := parseXMLInstance(data)
		if err == nil && check(i) == nil {
			sameBothWays(t, whole(i))
		}
	})
}

// FuzzInstance: the same for instances that no parser has seen.
func FuzzInstance(f *testing.F) {
	f.Add("id", "app", "host", "UP", "key", "value", "http://h/", 8080, true, int64(1700000000000))
	f.Add("a&b", "A_$", "::1", "", "a:_b$", " \r\n<&>]]>\u2028", "", 0, false, int64(-1))
	f.Fuzz(func(t *testing.T, id, app, host, status, key, value, url string, port int, enabled bool, ms int64) {
		i := whole(&Instance{
			ID: strings.TrimSpace(id), App: strings.ToUpper(strings.TrimSpace(app)), HostName: strings.TrimSpace(host),
			Status: ParseStatus(status), Overridden: Unknown, Port: Port{port & 0xffff, enabled}, SecurePort: Port{port >> 16 & 0xffff, !enabled},
			Metadata: map[string]string{key: value}, DataCenter: DataCenter{Name: dataCenterMyOwn},
			Lease: Lease{Duration: port, Registered: ms}, LastDirty: ms, URLs: URLs{HomePageURL: strings.TrimSpace(url)},
		})
		if key == "@class" {
			return // how Java marks the type of a map: no key
		}
		if check(i) == nil {
			sameBothWays(t, i)
		}
	})
}

// FuzzNames: every key becomes a name that any XML reader takes, and comes back.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"apiml.routes.ws_v1.gatewayUrl", "$", "_", "__", "_-", "_.0041", "0", "a b", "é", "\U0001F600"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		key = strings.ToValidUTF8(key, "")
		if key == "" {
			return
		}
		name := escapeName(key)
		if got := unescapeName(name); got != key {
			t.Fatalf("%q became %q and then %q", key, name, got)
		}
		for n := range len(name) {
			if c := name[n]; !nameByte(c) && c != '_' || n == 0 && !letter(c) && c != '_' {
				t.Fatalf("%q became %q, which is no name", key, name)
			}
		}
	})
}
