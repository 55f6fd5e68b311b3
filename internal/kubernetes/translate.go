package kubernetes

import (
	"net/netip"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// ControllerName is what a GatewayClass names to be served by Fairlead.
const ControllerName = "fairlead.dev/gateway-controller"

// Options are what a translation depends on besides its objects.
type Options struct {
	// Pool interns endpoints; never nil.
	Pool *upstream.Pool

	// AnyClass serves Gateways of every class, also of classes that do not exist: from files. Else only
	// those whose GatewayClass names ControllerName.
	AnyClass bool

	// PortOffset is added to every listener's port where it is bound.
	PortOffset int

	// Pool of addresses for Gateways that ask for none; not valid: those bind every interface.
	Addresses netip.Prefix

	// Defaults is the operator's policy (`defaults:`), under all RoutePolicies.
	Defaults route.Policy

	// Published are the addresses that the status of a Gateway shows where it is bound on every interface; nil: 0.0.0.0.
	// Publish says that it shows them even if there are none.
	Published []gatewayv1.GatewayStatusAddress
	Publish   bool

	// ProbeFromPods takes probes from the readinessProbe of a service's pods.
	ProbeFromPods bool

	// Eureka finds the endpoints of a service in the registry by its id, for backends of kind EurekaService, their weights by the ID
	// of each, and what holds for the service as a whole; nil: no registry.
	Eureka func(serviceID string) (specs []upstream.Spec, weights map[string]int, policy route.Policy, known bool)

	// Unbound says of addresses that could not be bound why, by route.Listener.Key.
	Unbound map[string]error

	// Reserved are TCP addresses that something else than Gateways has, and its name for messages: "gateway.listeners[0]".
	// An address that is not valid but for its port is every interface.
	Reserved map[netip.AddrPort]string

	// Cache keeps parsed certificates from one translation to the next. Nil: they are parsed each time.
	Cache *Cache
}

// Result is what a translation makes.
type Result struct {
	Set      route.Set
	Statuses []Status  // of every object that has one, in a fixed order
	Problems []Problem // in a fixed order

	wanted map[objectKey]bool // Secrets and ConfigMaps that were looked for, whether they are there or not
}

// Translate says what a set of objects means: listeners and routes, and what became of each object. It depends on its arguments
// alone and changes none of them but Cache, and Pool, whose services get the endpoints that the set says.
func Translate(set *Set, o Options) *Result {
	t := newTranslation(set, o)
	t.gatewaysOf()
	t.openListeners()
	routes := t.attachRoutes()
	t.publishGateways()
	t.publishRoutes(routes)
	t.publishPolicies()
	return &t.result
}
