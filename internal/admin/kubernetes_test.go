package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

// TestHealthOfACluster has a gateway that has read nothing yet, one that serves, and one whose API server is away: it goes on serving.
func TestHealthOfACluster(t *testing.T) {
	var state KubernetesState
	s := &server{Options{
		Stopping: func() bool { return false }, Users: func() *auth.Users { return nil }, Kubernetes: func() KubernetesState { return state },
	}}
	for _, c := range []struct {
		state  KubernetesState
		code   int
		status string
		age    int
	}{
		{KubernetesState{}, http.StatusServiceUnavailable, "DOWN", 0},
		{KubernetesState{Ready: true, Writes: true}, http.StatusOK, "UP", 0},
		{KubernetesState{Ready: true, Age: 90 * time.Second, Unread: 1}, http.StatusOK, "DOWN", 90},
	} {
		state = c.state
		w := httptest.NewRecorder()
		s.health(w, httptest.NewRequest("GET", "/application/health", nil))
		var got struct {
			Components struct {
				DiscoveryComposite struct {
					Components struct {
						Kubernetes struct {
							Status  string
							Details struct {
								AgeSeconds, UnreadKinds int
								WritesStatuses          bool
							}
						}
					}
				}
			}
		}
		if err := json.NewDecoder(strings.NewReader(w.Body.String())).Decode(&got); err != nil {
			t.Fatal(err)
		}
		k := got.Components.DiscoveryComposite.Components.Kubernetes
		if w.Code != c.code || k.Status != c.status || k.Details.AgeSeconds != c.age ||
			k.Details.WritesStatuses != c.state.Writes || k.Details.UnreadKinds != c.state.Unread {
			t.Errorf("%+v: %d %s", c.state, w.Code, w.Body)
		}
	}
}
