package eureka

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// gatewayID is the service id of gateways, this one's too.
const gatewayID = "gateway"

// metadataVersion marks metadata in today's keys.
const metadataVersion = "2.2.0"

// GatewayInstance is the gateway as it registers: application GATEWAY at host and port, with the metadata by which Zowe
// knows a gateway. An empty host is the machine's name. server is a server's URL: the way there shows the own address.
func GatewayInstance(host string, port int, secure bool, version, server string) *Instance {
	address := localAddress(server)
	if host == "" {
		host, _ = os.Hostname()
	}
	if host == "" || strings.ContainsFunc(host, notInHost) {
		host = address
	}
	at := net.JoinHostPort(host, strconv.Itoa(port))
	i := &Instance{
		ID: host + ":" + gatewayID + ":" + strconv.Itoa(port), App: strings.ToUpper(gatewayID), HostName: host, IPAddr: address,
		VIPAddress: gatewayID, SecureVIPAddress: gatewayID, Status: Up, Overridden: Unknown,
		Port: Port{Number: port, Enabled: !secure}, SecurePort: Port{Number: port, Enabled: secure},
		DataCenter: DataCenter{Name: dataCenterMyOwn}, Lease: Lease{RenewalInterval: 30, Duration: 90},
		LastDirty: time.Now().UnixMilli(), Labels: Labels{CountryID: defaultCountry},
		Metadata: map[string]string{
			"apiml.apiBasePath":              "/gateway/api/v1",
			"apiml.routes.api_v1.gatewayUrl": "api/v1",
			"apiml.routes.api_v1.serviceUrl": "/gateway/api/v1",
			"apiml.service.title":            "API Gateway",
			"apiml.service.description":      "Fairlead routes requests and WebSocket sessions to the registered services.",
			"apiml.apiInfo.0.apiId":          "zowe.apiml.gateway",
			"apiml.apiInfo.0.gatewayUrl":     "api/v1",
			"apiml.apiInfo.0.version":        version,
			"apiml.catalog.tile.id":          "apimediationlayer",
			"apiml.catalog.tile.title":       "API Mediation Layer API",
			"apiml.catalog.tile.description": "The gateway and its own services.",
			"apiml.catalog.tile.version":     "1.0.0",
			versionMarker:                    metadataVersion,
		},
	}
	base := "http://" + at
	i.HealthCheckURL = base + "/application/health"
	if secure {
		base = "https://" + at
		i.HealthCheckURL, i.SecureHealthCheckURL = "", base+"/application/health"
	}
	i.HomePageURL, i.StatusPageURL = base+"/", base+"/application/info"
	return i
}

// localAddress is the machine's address on the way to server. Nothing is sent.
func localAddress(server string) string {
	const unknown = "127.0.0.1"
	u, err := url.Parse(server)
	if err != nil {
		return unknown
	}
	c, err := net.DialTimeout("udp", net.JoinHostPort(u.Hostname(), "9"), time.Second) // connects no further than the routing table
	if err != nil {
		return unknown
	}
	defer c.Close()
	host, _, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return unknown
	}
	return host
}

// isSibling says that an instance is a gateway of this domain. Its own paths, below /gateway, are every gateway's own: to
// route them there would send requests in a circle. Gateways of other domains have an apimlId.
func (i *Instance) isSibling() bool {
	return i.ServiceID() == gatewayID && i.Metadata[keyApimlID] == ""
}
