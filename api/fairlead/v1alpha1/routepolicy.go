package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// RoutePolicy says how routes behave. Field by field, what is nearer to the backend wins (GEP-713, patch defaults): a policy on a port
// of a Service over one on the Service, that over one on a rule, on the route, on the Gateway, and all of them over `defaults:` in
// fairlead.yaml. Of two policies with one target the older holds. The timeouts, retry and sessionPersistence of a route itself win over
// all policies.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=gateway-api,shortName=flrp
// +kubebuilder:metadata:labels="gateway.networking.k8s.io/policy=Inherited"
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.ancestors[*].conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RoutePolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec RoutePolicySpec `json:"spec"`

	// +optional
	Status gatewayv1.PolicyStatus `json:"status,omitempty,omitzero"`
}

// RoutePolicyList is a list of them.
//
// +kubebuilder:object:root=true
type RoutePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RoutePolicy `json:"items"`
}

// RoutePolicySpec is the body of a RoutePolicy. The fields and their defaults are those of the route policy in docs/config.md.
//
// +kubebuilder:validation:XValidation:message="hash is said exactly with loadBalancing: hash",rule="has(self.hash) == (has(self.loadBalancing) && self.loadBalancing == 'hash')"
// +kubebuilder:validation:XValidation:message="sticky is for loadBalancing: sticky",rule="!has(self.sticky) || (has(self.loadBalancing) && self.loadBalancing == 'sticky')"
type RoutePolicySpec struct {
	// TargetRefs are what the policy is for: Gateways (without sectionName), HTTPRoutes and GRPCRoutes (a rule, by sectionName),
	// Services (a port, by sectionName), Backends and EurekaServices, all of the policy's own namespace.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:message="targetRefs must differ in group, kind, name or sectionName",rule="self.all(a, self.exists_one(b, a.group == b.group && a.kind == b.kind && a.name == b.name && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))"
	TargetRefs []gatewayv1.LocalPolicyTargetReferenceWithSectionName `json:"targetRefs"`

	// WebSocket is what holds for WebSocket sessions alone.
	//
	// +optional
	WebSocket *WebSocketPolicy `json:"websocket,omitempty"`

	// LoadBalancing chooses among the endpoints of a service. Default least-sessions for a WebSocket session, round-robin for a request.
	//
	// +optional
	// +kubebuilder:validation:Enum=least-sessions;round-robin;random;load-aware;hash;sticky
	LoadBalancing string `json:"loadBalancing,omitempty"`

	// LoadAware is what becomes of the reports of `loadBalancing: load-aware`.
	//
	// +optional
	LoadAware *LoadAwarePolicy `json:"loadAware,omitempty"`

	// Hash is what `loadBalancing: hash` hashes.
	//
	// +optional
	Hash *HashPolicy `json:"hash,omitempty"`

	// Sticky is the cookie of `loadBalancing: sticky`.
	//
	// +optional
	Sticky *StickyPolicy `json:"sticky,omitempty"`

	// SlowStart is the time over which an endpoint that is new, or well again, comes to its share; at most 24h. Default off.
	//
	// +optional
	SlowStart DurationOrOff `json:"slowStart,omitempty"`

	// Auth is what the gateway itself asks of a client: none, or one or more of the others, separated by commas, of which any will do.
	// Default none.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^(none|(basic|bearer|clientCertificate|forward)(, ?(basic|bearer|clientCertificate|forward))*)$`
	Auth string `json:"auth,omitempty"`

	// HostHeader is the Host that a service sees: the endpoint's own, or the client's. Default client.
	//
	// +optional
	// +kubebuilder:validation:Enum=endpoint;client
	HostHeader string `json:"hostHeader,omitempty"`

	// Timeouts bound the steps before a session or a response is under way. None of them cuts an open WebSocket.
	//
	// +optional
	Timeouts *TimeoutPolicy `json:"timeouts,omitempty"`

	// Outliers eject endpoints that fail, or are slow. It is for Services, Backends and EurekaServices as targets alone.
	//
	// +optional
	Outliers *OutlierPolicy `json:"outliers,omitempty"`

	// Panic has all endpoints be tried when none is well. Default false: the answer is 503 (1012) at once. It is for Services, Backends
	// and EurekaServices as targets alone.
	//
	// +optional
	Panic *bool `json:"panic,omitempty"`

	// Retries is when and how often a request is tried again; what an HTTPRoute says wins.
	//
	// +optional
	Retries *gatewayv1.HTTPRouteRetry `json:"retries,omitempty"`
}

// WebSocketPolicy holds for WebSocket sessions.
type WebSocketPolicy struct {
	// ConnectFailure is what a client sees when the service's part of the handshake fails: close (101, then a Close with code and
	// reason) or status (the HTTP status). Default status.
	//
	// +optional
	// +kubebuilder:validation:Enum=close;status
	ConnectFailure string `json:"connectFailure,omitempty"`

	// Failover is what happens to a session whose endpoint is lost: reconnect (it goes on at another endpoint, at most once), replay
	// (likewise, at least once), auto (reconnect where that is likely to be right) or off (a Close). Default off.
	//
	// +optional
	// +kubebuilder:validation:Enum=auto;reconnect;replay;off
	Failover string `json:"failover,omitempty"`

	// FailoverBuffer is what may wait during a move, and be kept for one. At most 16MiB. Default 64KiB.
	//
	// +optional
	FailoverBuffer Size `json:"failoverBuffer,omitempty"`

	// FailoverTimeout bounds a move. Default 10s.
	//
	// +optional
	FailoverTimeout Duration `json:"failoverTimeout,omitempty"`

	// Drain is what happens to the sessions of an endpoint that leaves: wait (they stay), move (without loss; 1012 where they cannot)
	// or close (1012). Default wait.
	//
	// +optional
	// +kubebuilder:validation:Enum=wait;move;close
	Drain string `json:"drain,omitempty"`

	// OnUnhealthy is what happens to the sessions of an endpoint that is found dead: wait, move (as after a loss) or close. Default
	// wait.
	//
	// +optional
	// +kubebuilder:validation:Enum=wait;move;close
	OnUnhealthy string `json:"onUnhealthy,omitempty"`

	// OnAuthExpiry is what happens to a session when the token by which its client was let in expires: close (1008) or ignore. Default
	// close.
	//
	// +optional
	// +kubebuilder:validation:Enum=close;ignore
	OnAuthExpiry string `json:"onAuthExpiry,omitempty"`

	// Rebalance is what happens when an endpoint joins: auto (sessions move to it until the counts are level) or off. Default off.
	//
	// +optional
	// +kubebuilder:validation:Enum=auto;off
	Rebalance string `json:"rebalance,omitempty"`

	// DrainWindow is the time over which the sessions of an endpoint are moved or closed; off: at once. Default 30s.
	//
	// +optional
	DrainWindow DurationOrOff `json:"drainWindow,omitempty"`

	// CloseTimeout bounds the wait for a peer's Close. Default 5s.
	//
	// +optional
	CloseTimeout Duration `json:"closeTimeout,omitempty"`

	// PingInterval is the time of silence after which the gateway pings a side. Default off.
	//
	// +optional
	PingInterval DurationOrOff `json:"pingInterval,omitempty"`

	// PongTimeout is how long the gateway waits for the answer to its Ping. Default twice pingInterval, at most 10s.
	//
	// +optional
	PongTimeout Duration `json:"pongTimeout,omitempty"`

	// IdleTimeout ends a session on which nothing that idleCounts counts came from either side. Default 1h.
	//
	// +optional
	IdleTimeout DurationOrOff `json:"idleTimeout,omitempty"`

	// IdleCounts is what keeps a session from being idle. Default frames.
	//
	// +optional
	// +kubebuilder:validation:Enum=frames;messages
	IdleCounts string `json:"idleCounts,omitempty"`

	// MaxDuration ends a session of that age. Default none.
	//
	// +optional
	MaxDuration DurationOrOff `json:"maxDuration,omitempty"`

	// MaxMessageSize ends a session with 1009 if a message is larger on the wire. Default none.
	//
	// +optional
	MaxMessageSize Size `json:"maxMessageSize,omitempty"`

	// MaxFrameSize ends a session with 1009 if a frame's payload is larger. Default none.
	//
	// +optional
	MaxFrameSize Size `json:"maxFrameSize,omitempty"`

	// MessageRate bounds the messages of a client in one session; above it that ends with 1008. Default none.
	//
	// +optional
	MessageRate Rate `json:"messageRate,omitempty"`

	// MessageBurst is how many messages of a client may come at once before messageRate ends the session. Default: the messages of one
	// second at that rate, one at least.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MessageBurst *int32 `json:"messageBurst,omitempty"`

	// MaxSessions bounds the live sessions of a route. Default none.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxSessions *int32 `json:"maxSessions,omitempty"`

	// MaxSessionsPerClient bounds the live sessions of a client on a route. Default none.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxSessionsPerClient *int32 `json:"maxSessionsPerClient,omitempty"`

	// AllowedOrigins are the origins from which a browser may open a session, besides the gateway's own; "*" is any. An empty list
	// leaves the gateway's own alone. Default any.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=300
	AllowedOrigins []string `json:"allowedOrigins,omitzero"`
}

// OutlierPolicy is when an endpoint takes nothing new for a while. Never more than half of a service's endpoints are kept away so.
type OutlierPolicy struct {
	// Failures in a row eject an endpoint, unless its siblings fail, too. 0: they do not. Default 5.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Failures *int32 `json:"failures,omitempty"`

	// Latency ejects an endpoint whose median time to answer is so many times that of its siblings: a decimal above 1, or off. Default
	// off.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^(off|[0-9]+(\.[0-9]+)?)$`
	Latency string `json:"latency,omitempty"`

	// LatencyFloor is the median below which nobody is slow. Default 100ms.
	//
	// +optional
	LatencyFloor Duration `json:"latencyFloor,omitempty"`

	// LatencySamples are the answers without which an endpoint is not judged by its latency. Default 20.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	LatencySamples *int32 `json:"latencySamples,omitempty"`

	// LatencyInterval is how often latencies are compared. Default 10s.
	//
	// +optional
	LatencyInterval Duration `json:"latencyInterval,omitempty"`

	// Time is how long the first ejection lasts; each one more twice as long. Default 10s.
	//
	// +optional
	Time Duration `json:"time,omitempty"`

	// MaxTime is how long an ejection lasts at most. Default 5m.
	//
	// +optional
	MaxTime Duration `json:"maxTime,omitempty"`
}

// HashPolicy is what is hashed to choose an endpoint.
//
// +kubebuilder:validation:XValidation:message="exactly one of header, cookie, clientAddress and user",rule="(has(self.header) ? 1 : 0) + (has(self.cookie) ? 1 : 0) + (has(self.clientAddress) ? 1 : 0) + (has(self.user) ? 1 : 0) == 1"
type HashPolicy struct {
	// Header is the name of a field of the request.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Header string `json:"header,omitempty"`

	// Cookie is the name of a cookie that the service sets.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Cookie string `json:"cookie,omitempty"`

	// ClientAddress is the client's address, without its port.
	//
	// +optional
	ClientAddress *Empty `json:"clientAddress,omitempty"`

	// User is who the gateway's own authentication found.
	//
	// +optional
	User *Empty `json:"user,omitempty"`
}

// LoadAwarePolicy is what becomes of what endpoints report of their load.
type LoadAwarePolicy struct {
	// BlackoutPeriod is how long an endpoint must have reported before it counts. Default 10s.
	//
	// +optional
	BlackoutPeriod DurationOrOff `json:"blackoutPeriod,omitempty"`

	// MetricExpirationPeriod is how long a report holds. Default 3m.
	//
	// +optional
	MetricExpirationPeriod Duration `json:"metricExpirationPeriod,omitempty"`

	// ErrorUtilizationPenalty is how heavily errors weigh: a decimal, not negative. Default "1.0".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([0-9]+([.][0-9]+)?|[.][0-9]+)$`
	ErrorUtilizationPenalty string `json:"errorUtilizationPenalty,omitempty"`

	// NamedMetrics are the metrics of the application of which the highest counts.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	NamedMetrics []string `json:"namedMetrics,omitempty"`
}

// StickyPolicy is a cookie of the gateway's by which a client stays at its endpoint.
type StickyPolicy struct {
	// CookieName: default chosen by the gateway.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	CookieName string `json:"cookieName,omitempty"`

	// Lifetime is how long a client keeps the cookie; off: until the browser ends. Default 24h.
	//
	// +optional
	Lifetime DurationOrOff `json:"lifetime,omitempty"`

	// Path is where a client shows the cookie. Default "/".
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^/[^;, ]*$`
	Path string `json:"path,omitempty"`
}

// Empty is a choice without a parameter: {}.
type Empty struct{}

// TimeoutPolicy are deadlines.
type TimeoutPolicy struct {
	// Connect bounds resolving a name and connecting. Default 5s.
	//
	// +optional
	Connect Duration `json:"connect,omitempty"`

	// Handshake bounds one attempt to open a session at an endpoint. Default 30s.
	//
	// +optional
	Handshake Duration `json:"handshake,omitempty"`

	// Response bounds the wait for the head of a service's response. Default off.
	//
	// +optional
	Response DurationOrOff `json:"response,omitempty"`

	// Request bounds a whole request. Default off.
	//
	// +optional
	Request DurationOrOff `json:"request,omitempty"`

	// BackendRequest bounds one attempt of a request. Default off.
	//
	// +optional
	BackendRequest DurationOrOff `json:"backendRequest,omitempty"`
}
