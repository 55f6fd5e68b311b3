package kubernetes

// Config is the section kubernetes of fairlead.yaml: what holds for Gateway API objects, wherever they come from.
type Config struct {
	// Enabled reads objects from the API server of a cluster, and writes their statuses there. Default false: `manifests` reads
	// objects from files. Both at once is an error. docs/kubernetes.md has the rights that it needs. A change of this key, and of those down
	// to publishService, needs a restart.
	Enabled bool `yaml:"enabled"`

	// Kubeconfig is the file that says where the API server is and who asks. Default: the service account of the pod, and outside of a
	// cluster what kubectl would take, $KUBECONFIG or ~/.kube/config.
	Kubeconfig string `yaml:"kubeconfig"`

	// Context is the context of that file. Default: its current one.
	Context string `yaml:"context"`

	// Namespaces are those that objects are read from. GatewayClasses and Namespaces are read wherever they are. Default: all.
	Namespaces []string `yaml:"namespaces"`

	// LeaderElection has only one of several gateways write statuses: the one that holds a Lease. All of them serve traffic. Default true.
	// Danger: without it, two gateways overwrite each other's statuses.
	LeaderElection *bool `yaml:"leaderElection"`

	// LeaseName is the name of that Lease. Gateways that serve other objects need another one. Default "fairlead".
	LeaseName string `yaml:"leaseName"`

	// LeaseNamespace is the namespace of that Lease. Default: the pod's, or the one of the kubeconfig's context.
	LeaseNamespace string `yaml:"leaseNamespace"`

	// PublishService is the Service ("namespace/name") through which clients reach the gateway: its addresses are shown in the status of
	// Gateways that ask for none. Default: they show 0.0.0.0, as they are bound.
	PublishService string `yaml:"publishService"`

	// PortOffset is added to the port of every listener of a Gateway where it is bound: 8000 makes 80 to 8080, for
	// those who may not bind ports below 1024. A redirect that names no port is
	// shifted alike; one that names a port means it. Default 0.
	PortOffset int `yaml:"portOffset"`

	// AddressPool is a network ("10.96.255.0/24") of addresses of this machine, of which each Gateway that asks for none
	// is given one. Default: such a Gateway is bound on every interface.
	AddressPool string `yaml:"addressPool"`

	// ProbeFromPods probes endpoints as the readinessProbe of their pods says, where no HealthCheckPolicy does.
	// Default false: a pod's probe may not suit who asks from elsewhere. In a cluster it needs the right to read pods, and a change needs a
	// restart.
	ProbeFromPods bool `yaml:"probeFromPods"`
}

// elects tells whether the statuses are written by one gateway of several.
func (c Config) elects() bool { return c.LeaderElection == nil || *c.LeaderElection }
