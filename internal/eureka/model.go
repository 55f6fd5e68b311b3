// Package eureka is the embedded Eureka registry: the wire model in JSON and XML, leases, deltas
// and the REST interface that services register with, and the translation of their metadata to routes.
//
// The wire contract is Netflix Eureka's, with the tolerances that the clients in use need. A registration
// is decoded into an Instance, judged (check.go), and kept under a lease (lease.go). Readers get immutable
// snapshots: a view is built once after a change and carries the prebuilt answers (view.go).
package eureka

import (
	"maps"
	"strings"
)

// Status is the state of an instance as Eureka names it. Names are case-sensitive.
type Status string

// The five states. Only Up takes new sessions.
const (
	Up           Status = "UP"
	Down         Status = "DOWN"
	Starting     Status = "STARTING"
	OutOfService Status = "OUT_OF_SERVICE"
	Unknown      Status = "UNKNOWN"
)

// ParseStatus reads a status as it stands on the wire; any other text is Unknown.
func ParseStatus(s string) Status {
	switch st := Status(s); st {
	case Up, Down, Starting, OutOfService:
		return st
	}
	return Unknown
}

// Action says what a delta does with an instance.
type Action string

// The three actions of a delta.
const (
	Added    Action = "ADDED"
	Modified Action = "MODIFIED"
	Deleted  Action = "DELETED"
)

// Port is one port of an instance.
type Port struct {
	Number  int // 0 to 65535
	Enabled bool
}

// Ports of an instance that names none, as Eureka has them.
const (
	defaultPort       = 7001
	defaultSecurePort = 7002
)

// defaultCountry is the countryId of an instance that names none, as Eureka has it.
const defaultCountry = 1

// Names of data centers. The Java clients accept no others.
const (
	dataCenterMyOwn   = "MyOwn"
	dataCenterAmazon  = "Amazon"
	dataCenterNetflix = "Netflix"
)

// DataCenter is where an instance says that it runs. Only its name and, for Amazon, its metadata are kept:
// a class name from the wire is never echoed, because Java clients would instantiate it.
type DataCenter struct {
	Name     string
	Metadata map[string]string
}

// Lease is what an instance and its readers know about its lease. Times are milliseconds since 1970; zero is never.
type Lease struct {
	RenewalInterval int // seconds between heartbeats, as the client says
	Duration        int // seconds without a heartbeat after which the instance expires

	Registered  int64 // when the registry took the instance
	LastRenewal int64 // last heartbeat; in snapshots as old as the last change
	Evicted     int64 // when it was cancelled or expired
	ServiceUp   int64 // when it was first UP
}

// Instance is one registered instance. Those that a Registry hands out are immutable, maps included.
type Instance struct {
	ID  string // unique within App
	App string // upper case

	HostName         string // what is dialled: a name or an IP address
	IPAddr           string // for information
	VIPAddress       string // comma-separated names
	SecureVIPAddress string

	Status     Status // what counts: after overrides
	Overridden Status // Unknown: no override
	Port       Port
	SecurePort Port

	Metadata   map[string]string // never nil in what a Registry hands out
	DataCenter DataCenter
	Lease      Lease
	URLs

	LastUpdated int64 // milliseconds since 1970: last change in this registry
	LastDirty   int64 // milliseconds since 1970: last change by the client's clock
	Action      Action
	Labels

	// Order counts first registrations; UpOrder counts each time an instance registered or turned UP with
	// something new to say. The greater was later. Neither is on the wire.
	Order, UpOrder uint64

	// External says that another registry has the instance. Where instances of a service disagree, the embedded
	// registry's win.
	External bool

	hasDataCenter bool  // the document had a dataCenterInfo, perhaps without a name
	problem       error // what was malformed in an instance read from another server; it is then not used
}

// URLs are the addresses that an instance announces for people and probes. They are not fetched by the registry.
type URLs struct {
	HomePageURL, StatusPageURL, HealthCheckURL, SecureHealthCheckURL string
}

// Labels are fields that the registry keeps and hands out but does not use.
type Labels struct {
	SID, AppGroup, ASG string
	CountryID          int
	Coordinating       bool // the instance is the discovery server that answers
}

// ServiceID is the name in URLs: the application's, in lower case.
func (i *Instance) ServiceID() string { return strings.ToLower(i.App) }

// Secure says whether the instance is to be dialled with TLS: it is when its secure port is enabled,
// also when both ports are.
func (i *Instance) Secure() bool { return i.SecurePort.Enabled }

// Address is where to dial the instance: HostName with the secure port if that is enabled, else the plain port.
func (i *Instance) Address() (host string, port int) {
	if i.SecurePort.Enabled {
		return i.HostName, i.SecurePort.Number
	}
	return i.HostName, i.Port.Number
}

// routesAlike says whether a and b look the same to the route table.
func routesAlike(a, b *Instance) bool {
	return a.ID == b.ID && a.App == b.App && a.Status == b.Status && a.HostName == b.HostName &&
		a.Port == b.Port && a.SecurePort == b.SecurePort && a.VIPAddress == b.VIPAddress &&
		a.SecureVIPAddress == b.SecureVIPAddress && a.HomePageURL == b.HomePageURL && maps.Equal(a.Metadata, b.Metadata)
}

// Application is the instances of one name.
type Application struct {
	Name      string // upper case
	Instances []*Instance
}

// Applications is a whole registry or a delta.
type Applications struct {
	Version string // versions__delta
	Hash    string // apps__hashcode: over the full registry, also in a delta
	Apps    []Application
}
