package admin

import "time"

// KubernetesState is how the cluster fares that the objects of the Gateway API come from.
type KubernetesState struct {
	Ready  bool          // it has been read, and what it says is served
	Age    time.Duration // since when the API server has not been reached; 0: it is
	Writes bool          // this gateway writes the statuses
	Unread int           // kinds that may not be read, or get an error
}

// view is what everyone may know of it.
func (k KubernetesState) view() map[string]any {
	status := "UP"
	if !k.Ready || k.Age > 0 {
		status = "DOWN"
	}
	return map[string]any{"status": status, "details": map[string]any{
		"ageSeconds": int(k.Age.Seconds()), "writesStatuses": k.Writes, "unreadKinds": k.Unread,
	}}
}
