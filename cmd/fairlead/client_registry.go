package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"text/tabwriter"
	"time"
)

type registryCommand struct{ clientFlags }

// registryAnswer is what /application/registry answers, as far as it is printed.
type registryAnswer struct {
	Embedded *struct {
		Instances        int   `json:"instances"`
		Applications     int   `json:"applications"`
		RenewsLastMinute int64 `json:"renewsLastMinute"`
		SelfPreservation bool  `json:"selfPreservation"`
		Snapshot         struct {
			File    string    `json:"file"`
			Written time.Time `json:"written"`
			Error   string    `json:"error"`
			Unused  string    `json:"unused"`
		} `json:"snapshot"`
		Peers []struct {
			URL         string    `json:"url"`
			State       string    `json:"state"`
			Kind        string    `json:"kind"`
			LastContact time.Time `json:"lastContact"`
			LastSync    time.Time `json:"lastSync"`
			Error       string    `json:"error"`
			Backlog     int       `json:"backlog"`
			LagSeconds  float64   `json:"lagSeconds"`
			Instances   int       `json:"instances"`
		} `json:"peers"`
	} `json:"embedded"`
	Cluster *struct {
		URLs       []string  `json:"urls"`
		Server     string    `json:"server"`
		State      string    `json:"state"`
		LastRead   time.Time `json:"lastRead"`
		Error      string    `json:"error"`
		Instances  int       `json:"instances"`
		Registers  bool      `json:"registers"`
		Registered bool      `json:"registered"`
	} `json:"cluster"`
}

// Run prints the registry on board, its peers, and the cluster that is read.
func (c *registryCommand) Run() error {
	if c.JSON {
		return c.print("/application/registry")
	}
	body, _, err := c.call(http.MethodGet, "/application/registry")
	if err != nil {
		return err
	}
	var a registryAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("%s: answer: %w", c.Gateway, err)
	}
	a.print(time.Now())
	return a.printPeers(time.Now())
}

func (a *registryAnswer) print(now time.Time) {
	if a.Embedded == nil && a.Cluster == nil {
		fmt.Println("no registry: registry.enabled is false, and there are no eureka.serviceUrls")
	}
	if e := a.Embedded; e != nil {
		fmt.Printf("registry: %d instances of %d services, %d heartbeats in the last minute\n", e.Instances, e.Applications, e.RenewsLastMinute)
		if e.SelfPreservation {
			fmt.Println("  self-preservation: too few heartbeats arrive, leases that have ended are kept")
		}
		fmt.Printf("  snapshot: %s, written %s\n", e.Snapshot.File, ago(now, e.Snapshot.Written))
		for _, text := range []string{e.Snapshot.Error, e.Snapshot.Unused} {
			if text != "" {
				fmt.Printf("  snapshot: %s\n", text)
			}
		}
	}
	if k := a.Cluster; k != nil {
		server := cmp.Or(k.Server, "none of its servers")
		fmt.Printf("cluster: %s: %d instances, read %s from %s\n", k.State, k.Instances, ago(now, k.LastRead), server)
		if k.Error != "" {
			fmt.Printf("  %s\n", k.Error)
		}
		if k.Registers && !k.Registered {
			fmt.Println("  this gateway is not registered there")
		}
	}
}

func (a *registryAnswer) printPeers(now time.Time) error {
	if a.Embedded == nil || len(a.Embedded.Peers) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PEER\tKIND\tCONTACT\tCOMPARED\tINSTANCES\tBACKLOG\tSTATE")
	for _, p := range a.Embedded.Peers {
		backlog := "0"
		if p.Backlog > 0 {
			backlog = fmt.Sprintf("%d, %s", p.Backlog, time.Duration(p.LagSeconds*float64(time.Second)).Round(time.Millisecond))
		}
		state := p.State
		if p.Error != "" {
			state += ": " + p.Error
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", p.URL, cmp.Or(p.Kind, "?"), ago(now, p.LastContact), ago(now, p.LastSync),
			p.Instances, backlog, state)
	}
	return table.Flush()
}

// ago is how long ago a time was.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return max(now.Sub(t), 0).Round(time.Second).String() + " ago"
}
