package kubernetes

// Config is the section kubernetes of fairlead.yaml: what holds for Gateway API objects, wherever they come from.
type Config struct {
	// Enabled reads objects from the API server of a cluster. Default false. Not available in
	// this version: it must be false; `manifests` reads objects from files.
	Enabled bool `yaml:"enabled"`

	// PortOffset is added to the port of every listener of a Gateway where it is bound: 8000 makes 80 to 8080, for
	// those who may not bind ports below 1024. A redirect that names no port is
	// shifted alike; one that names a port means it. Default 0.
	PortOffset int `yaml:"portOffset"`

	// AddressPool is a network ("10.96.255.0/24") of addresses of this machine, of which each Gateway that asks for none
	// is given one. Default: such a Gateway is bound on every interface.
	AddressPool string `yaml:"addressPool"`

	// ProbeFromPods probes endpoints as the readinessProbe of their pods says, where no HealthCheckPolicy does.
	// Default false: a pod's probe may not suit who asks from elsewhere.
	ProbeFromPods bool `yaml:"probeFromPods"`
}
