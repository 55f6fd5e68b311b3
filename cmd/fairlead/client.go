package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/admin"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// clientFlags say how the commands that ask a running gateway reach it.
type clientFlags struct {
	Gateway  string `default:"https://localhost:10010" help:"Base URL of the gateway."`
	User     string `default:"admin" help:"User of admin.users."`
	Password string `env:"FAIRLEAD_PASSWORD" help:"Its password. Default: what the file of the next flag says."`
	DataDir  string `default:"./fairlead-data" type:"path" help:"Where the gateway keeps its generated password and certificate."`
	CA       string `type:"path" placeholder:"FILE" help:"Authority of the gateway's certificate. Default: the generated certificate in the data directory, if it is there, else the system's."`
	JSON     bool   `help:"Print what the gateway answers, as it is."`
}

// Bounds of one question.
const (
	clientTimeout = 30 * time.Second
	maxListing    = 64 << 20
)

type servicesCommand struct {
	List  servicesListCommand  `cmd:"" default:"withargs" help:"List the services (default)."`
	Drain servicesDrainCommand `cmd:"" help:"Have an instance take nothing new, and its sessions leave it."`

	Rebalance servicesRebalanceCommand `cmd:"" help:"Move sessions until the instances of a service have equal shares."`
}

type servicesListCommand struct{ clientFlags }

// Run lists the services with their endpoints, the sessions on each, and what its probes say.
func (c *servicesListCommand) Run() error {
	if c.JSON {
		return c.print("/application/services")
	}
	body, _, err := c.call(http.MethodGet, "/application/services")
	if err != nil {
		return err
	}
	var services []struct {
		ID        string `json:"serviceId"`
		Endpoints []struct {
			URL      string `json:"url"`
			Instance string `json:"instance"`
			Sessions int64  `json:"sessions"`
			Weight   int    `json:"weight"`
			Leaving  bool   `json:"leaving"`
			Drained  bool   `json:"drained"`
			Ejected  *struct {
				Until  time.Time `json:"until"`
				Reason string    `json:"reason"`
			} `json:"ejected"`
			Health struct {
				State upstream.HealthState `json:"state"`
				Error string               `json:"error"`
			} `json:"health"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(body, &services); err != nil {
		return fmt.Errorf("%s: answer: %w", c.Gateway, err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVICE\tINSTANCE\tURL\tWEIGHT\tSESSIONS\tHEALTH")
	for _, s := range services {
		if len(s.Endpoints) == 0 {
			fmt.Fprintf(table, "%s\tnone\t\t\t\t\n", s.ID)
		}
		for _, e := range s.Endpoints {
			health := string(e.Health.State)
			if e.Health.Error != "" {
				health += ": " + strings.Join(strings.Fields(e.Health.Error), " ")
			}
			switch {
			case e.Drained:
				health = "drained"
			case e.Leaving:
				health = "leaving"
			case e.Ejected != nil:
				health = "ejected until " + e.Ejected.Until.Local().Format(time.TimeOnly) + ": " + strings.Join(strings.Fields(e.Ejected.Reason), " ")
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", s.ID, e.Instance, e.URL, e.Weight, e.Sessions, health)
		}
	}
	return table.Flush()
}

type servicesDrainCommand struct {
	clientFlags
	ID       string `arg:"" help:"serviceId of the list."`
	Instance string `help:"Which instance. May be left out where there is one."`
	Undo     bool   `help:"Let it take new sessions again."`
}

// Run drains one instance.
func (c *servicesDrainCommand) Run() error {
	method := http.MethodPost
	if c.Undo {
		method = http.MethodDelete
	}
	body, _, err := c.call(method, "/application/services/"+url.PathEscape(c.ID)+"/drain?"+url.Values{"instance": {c.Instance}}.Encode())
	if err != nil || c.Undo {
		return err
	}
	if c.JSON {
		fmt.Println(string(body))
		return nil
	}
	var v struct {
		Instances []string `json:"instances"`
		Sessions  int      `json:"sessions"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("%s: answer: %w", c.Gateway, err)
	}
	fmt.Printf("%s takes nothing new; %d sessions are to leave it\n", strings.Join(v.Instances, ", "), v.Sessions)
	return nil
}

type servicesRebalanceCommand struct {
	clientFlags
	ID string `arg:"" help:"serviceId of the list."`
}

// Run rebalances one service.
func (c *servicesRebalanceCommand) Run() error {
	body, _, err := c.call(http.MethodPost, "/application/services/"+url.PathEscape(c.ID)+"/rebalance")
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Println(string(body))
		return nil
	}
	var v struct {
		Sessions int `json:"sessions"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("%s: answer: %w", c.Gateway, err)
	}
	fmt.Printf("%d sessions are about to move\n", v.Sessions)
	return nil
}

type routesCommand struct{ clientFlags }

// Run lists the routes that are served, then what is not and why.
func (c *routesCommand) Run() error {
	if c.JSON {
		return c.print("/application/routes")
	}
	body, _, err := c.call(http.MethodGet, "/application/routes")
	if err != nil {
		return err
	}
	var t struct {
		Routes []struct {
			Prefixes  []string `json:"prefixes"`
			ServiceID string   `json:"serviceId"`
			Target    string   `json:"serviceUrl"`
			Endpoints []string `json:"endpoints"`
			Conflicts []string `json:"conflicts"`
		} `json:"routes"`
		Rules []struct {
			ID        string   `json:"id"`
			Listener  string   `json:"listener"`
			Hostnames []string `json:"hostnames"`
			Matches   []string `json:"matches"`
			Filters   []string `json:"filters"`
			Backends  []struct {
				Name      string   `json:"name"`
				Endpoints []string `json:"endpoints"`
			} `json:"backends"`
		} `json:"rules"`
		Problems []struct {
			Route   string `json:"route"`
			Problem string `json:"problem"`
		} `json:"problems"`
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return fmt.Errorf("%s: answer: %w", c.Gateway, err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if len(t.Rules) > 0 {
		fmt.Fprintln(table, "LISTENER\tHOSTNAMES\tMATCH\tROUTE\tLEADS TO")
	}
	for _, r := range t.Rules {
		var backends []string
		for _, b := range r.Backends {
			backends = append(backends, fmt.Sprintf("%s (%d)", b.Name, len(b.Endpoints)))
		}
		to := withFilters(strings.Join(backends, ", "), r.Filters)
		if len(r.Matches) == 0 {
			r.Matches = []string{"everything"}
		}
		for _, m := range r.Matches {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Listener, orAny(strings.Join(r.Hostnames, ",")), m, r.ID, to)
		}
	}
	if len(t.Rules) > 0 {
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Println()
	}
	fmt.Fprintln(table, "PATH\tSERVICE\tSERVICE URL\tINSTANCES")
	for _, r := range t.Routes {
		for _, p := range r.Prefixes {
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\n", p, r.ServiceID, r.Target, len(r.Endpoints))
		}
		for _, text := range r.Conflicts {
			fmt.Fprintf(table, "  conflict: %s\t\t\t\n", text)
		}
	}
	for _, p := range t.Problems {
		fmt.Fprintf(table, "not served: %s: %s\t\t\t\n", p.Route, p.Problem)
	}
	return table.Flush()
}

func (c *clientFlags) print(path string) error {
	body, _, err := c.call(http.MethodGet, path)
	if err == nil {
		_, err = fmt.Println(string(body))
	}
	return err
}

// call asks the gateway one thing. next is the path of the following page, if there is one.
func (c *clientFlags) call(method, path string) (body []byte, next string, err error) {
	client, err := c.client()
	if err != nil {
		return nil, "", err
	}
	defer client.CloseIdleConnections()
	password, err := c.password()
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Gateway, "/")+path, nil)
	if err != nil {
		return nil, "", err
	}
	req.SetBasicAuth(c.User, password)
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, maxListing)); err != nil {
		return nil, "", err
	}
	if resp.StatusCode >= 300 {
		return nil, "", refusal(c.Gateway, resp.Status, body)
	}
	if target, ok := strings.CutSuffix(resp.Header.Get("Link"), `>; rel="next"`); ok {
		next = strings.TrimPrefix(target, "<")
	}
	return body, next, nil
}

// refusal is the gateway's answer in its own words, if it has any.
func refusal(gateway, status string, body []byte) error {
	var document struct {
		Messages []struct {
			Content string `json:"messageContent"`
		} `json:"messages"`
	}
	if json.Unmarshal(body, &document) == nil && len(document.Messages) > 0 {
		return fmt.Errorf("%s: %s: %s", gateway, status, document.Messages[0].Content)
	}
	return fmt.Errorf("%s: %s", gateway, status)
}

func (c *clientFlags) client() (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	file := c.CA
	if file == "" {
		file = filepath.Join(c.DataDir, proxy.GeneratedCertFile)
	}
	if pem, err := os.ReadFile(file); err == nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", file)
		}
	} else if c.CA != "" || !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}, nil
}

func (c *clientFlags) password() (string, error) {
	if c.Password != "" {
		return c.Password, nil
	}
	text, err := os.ReadFile(filepath.Join(c.DataDir, admin.PasswordFile))
	if err != nil {
		return "", fmt.Errorf("password: %w\nfairlead: hint: set FAIRLEAD_PASSWORD, or name the gateway's data directory with --data-dir", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// orAny is a hostname, or what stands for any.
func orAny(name string) string {
	if name == "" {
		return "*"
	}
	return name
}
