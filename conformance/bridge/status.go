package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const (
	maxAnswer = 64 << 20 // bytes of all statuses
	writers   = 8        // statuses that are being written at once
)

// A reported status is one element of Fairlead's answer.
type reported struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		UID       string `json:"uid"`
	} `json:"metadata"`
	Status json.RawMessage `json:"status"`
}

// written is what was done last about an object: it needs nothing while neither has changed.
type written struct {
	status          string
	resourceVersion string // after the write
}

// carryStatuses asks Fairlead for its statuses again and again and writes those that are new.
func (b *Bridge) carryStatuses(ctx context.Context) {
	done := map[key]written{}
	var trouble string // logged once
	reached := false   // before that Fairlead is starting
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollPeriod):
		}
		statuses, err := b.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			trouble, reached = "", true
		case reached && err.Error() != trouble:
			trouble = err.Error()
			b.Logf("statuses: %v", err)
		}
		b.writeAll(ctx, statuses, done)
	}
}

func (b *Bridge) ask(ctx context.Context) ([]reported, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.Objects, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.200q", resp.Status, body)
	}
	var statuses []reported
	return statuses, json.Unmarshal(body, &statuses)
}

// writeAll writes the statuses that done does not know, some at once. What fails, because the
// object has just changed or is gone, is tried again by the next call.
func (b *Bridge) writeAll(ctx context.Context, statuses []reported, done map[key]written) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards done
		slots = make(chan struct{}, writers)
	)
	for _, r := range statuses {
		k, target := b.target(r)
		if target == nil {
			continue
		}
		mu.Lock()
		last := done[k]
		mu.Unlock()
		if last == (written{string(r.Status), target.current.GetResourceVersion()}) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			version, err := b.write(ctx, target, r.Status)
			if err != nil {
				if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
					b.Logf("status of %s %s/%s: %v", k.kind, k.namespace, k.name, err)
				}
				return
			}
			mu.Lock()
			done[k] = written{string(r.Status), version}
			mu.Unlock()
		})
	}
	wg.Wait()
}

// target is the object that a status is about, or nil if it is gone or another of that name.
func (b *Bridge) target(r reported) (key, *object) {
	version, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return key{}, nil
	}
	k := key{version.Group, r.Kind, r.Metadata.Namespace, r.Metadata.Name}
	target := b.store.get(k)
	if target != nil && r.Metadata.UID != "" && r.Metadata.UID != string(target.current.GetUID()) {
		return k, nil
	}
	return k, target
}

// write replaces what is Fairlead's in the status of an object.
func (b *Bridge) write(ctx context.Context, target *object, status []byte) (resourceVersion string, err error) {
	var own map[string]any
	if err := utiljson.Unmarshal(status, &own); err != nil { // whole numbers stay whole
		return "", err
	}
	next := target.current.DeepCopy()
	last, _ := next.Object["status"].(map[string]any)
	next.Object["status"] = merge(last, own, time.Now())
	client := b.Client.Resource(target.resource).Namespace(next.GetNamespace())
	after, err := client.UpdateStatus(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		return "", err
	}
	return after.GetResourceVersion(), b.store.put(target.resource, after)
}
