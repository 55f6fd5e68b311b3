package kubernetes

import (
	"net/netip"

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

	// ProbeFromPods takes probes from the readinessProbe of a service's pods.
	ProbeFromPods bool

	// Eureka finds the endpoints of a service in the registry by its id, for backends of kind EurekaService; nil: no registry.
	Eureka func(serviceID string) (specs []upstream.Spec, known bool)

	// Unbound says of addresses that could not be bound why: network and address as route.Listener has them.
	Unbound map[string]error
}

// Result is what a translation makes.
type Result struct {
	Set      route.Set
	Statuses []Status  // of every object that has one, in a fixed order
	Problems []Problem // in a fixed order
}
