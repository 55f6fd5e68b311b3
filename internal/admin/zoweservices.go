package admin

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/eureka"
)

// The list of services as Zowe's gateway gives it (zowe.md, section 5.8).

type zoweService struct {
	ID        string                  `json:"serviceId"`
	Status    eureka.Status           `json:"status"`
	API       zoweAPI                 `json:"apiml"`
	Instances map[string]zoweInstance `json:"instances"`
}

type zoweAPI struct {
	Info    []zoweAPIInfo `json:"apiInfo"`
	Service struct {
		Title       string `json:"title,omitempty"`
		Description string `json:"description,omitempty"`
		HomePageURL string `json:"homePageUrl,omitempty"`
	} `json:"service"`
	Authentication []zoweScheme `json:"authentication"`
}

type zoweAPIInfo struct {
	APIID            string `json:"apiId,omitempty"`
	BasePath         string `json:"basePath,omitempty"`
	BaseURL          string `json:"baseUrl,omitempty"`
	GatewayURL       string `json:"gatewayUrl,omitempty"`
	SwaggerURL       string `json:"swaggerUrl,omitempty"`
	DocumentationURL string `json:"documentationUrl,omitempty"`
	Version          string `json:"version,omitempty"`
	DefaultAPI       bool   `json:"defaultApi"`
}

type zoweScheme struct {
	Scheme      string `json:"scheme"`
	ApplID      string `json:"applid,omitempty"`
	SupportsSSO bool   `json:"supportsSso"`
}

type zoweInstance struct {
	Status         eureka.Status     `json:"status"`
	HostName       string            `json:"hostname"`
	IPAddr         string            `json:"ipAddr"`
	Protocol       string            `json:"protocol"`
	Port           int               `json:"port"`
	HomePageURL    string            `json:"homePageUrl,omitempty"`
	HealthCheckURL string            `json:"healthCheckUrl,omitempty"`
	StatusPageURL  string            `json:"statusPageUrl,omitempty"`
	Custom         map[string]string `json:"customMetadata"`
}

// zoweServices lists the registered services; `apiId` in the query picks those that have that API.
func (s *server) zoweServices(w http.ResponseWriter, r *http.Request) {
	list, apiID := []zoweService{}, r.URL.Query().Get("apiId")
	for _, instances := range s.byService() {
		v := viewZowe(instances, baseURL(r))
		if apiID == "" || slices.ContainsFunc(v.API.Info, func(i zoweAPIInfo) bool { return i.APIID == apiID }) {
			list = append(list, v)
		}
	}
	w.Header().Set("Content-Version", "1")
	writeJSON(w, http.StatusOK, "application/json", list)
}

// zoweService is one of them.
func (s *server) zoweService(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Version", "1")
	for _, instances := range s.byService() {
		if eureka.PublicID(instances) == strings.ToLower(r.PathValue("id")) {
			writeJSON(w, http.StatusOK, "application/json", viewZowe(instances, baseURL(r)))
			return
		}
	}
	writeError(w, http.StatusNotFound, "ZWEAM104E", "org.zowe.apiml.common.endPointNotFound",
		"The endpoint you are looking for '"+r.URL.EscapedPath()+"' could not be located")
}

// byService are the registered instances, those of one service together.
func (s *server) byService() (all [][]*eureka.Instance) {
	if s.Instances == nil {
		return nil
	}
	instances := s.Instances()
	for len(instances) > 0 {
		n := slices.IndexFunc(instances, func(i *eureka.Instance) bool { return i.App != instances[0].App })
		if n < 0 {
			n = len(instances)
		}
		all, instances = append(all, instances[:n]), instances[n:]
	}
	return all
}

// baseURL is the gateway as the client has called it.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func viewZowe(instances []*eureka.Instance, gateway string) zoweService {
	id := eureka.PublicID(instances)
	best := instances[0]
	v := zoweService{ID: id, Status: eureka.Down, Instances: map[string]zoweInstance{}}
	v.API.Info, v.API.Authentication = []zoweAPIInfo{}, []zoweScheme{}
	for _, in := range instances {
		if in.Status == eureka.Up && (v.Status != eureka.Up || in.UpOrder > best.UpOrder) {
			v.Status, best = eureka.Up, in
		}
		v.Instances[in.ID] = viewZoweInstance(in)
		for _, info := range apiInfo(in.Metadata, id, gateway) {
			if !slices.Contains(v.API.Info, info) {
				v.API.Info = append(v.API.Info, info)
			}
		}
		scheme := zoweScheme{Scheme: in.Metadata["apiml.authentication.scheme"], ApplID: in.Metadata["apiml.authentication.applid"]}
		if scheme.Scheme == "" {
			scheme.Scheme = "bypass"
		}
		scheme.SupportsSSO = supportsSSO(scheme.Scheme, in.Metadata["apiml.authentication.sso"])
		if !slices.Contains(v.API.Authentication, scheme) {
			v.API.Authentication = append(v.API.Authentication, scheme)
		}
	}
	v.API.Service.Title, v.API.Service.Description = best.Metadata["apiml.service.title"], best.Metadata["apiml.service.description"]
	v.API.Service.HomePageURL = homePage(best, id, gateway)
	return v
}

// supportsSSO: what a service says itself, else every scheme but bypass.
func supportsSSO(scheme, said string) bool {
	if said != "" {
		return strings.EqualFold(said, "true")
	}
	return scheme != "bypass"
}

func viewZoweInstance(in *eureka.Instance) zoweInstance {
	v := zoweInstance{
		Status: in.Status, HostName: in.HostName, IPAddr: in.IPAddr, Protocol: "http",
		HomePageURL: in.HomePageURL, HealthCheckURL: in.HealthCheckURL, StatusPageURL: in.StatusPageURL, Custom: map[string]string{},
	}
	_, v.Port = in.Address()
	if in.Secure() {
		v.Protocol = "https"
		if in.SecureHealthCheckURL != "" {
			v.HealthCheckURL = in.SecureHealthCheckURL
		}
	}
	for k, value := range in.Metadata {
		if strings.HasPrefix(k, "zos.") {
			v.Custom[k] = value
		}
	}
	return v
}

// apiInfo reads "apiml.apiInfo.<label>.<field>", in the order of the labels.
func apiInfo(metadata map[string]string, id, gateway string) (all []zoweAPIInfo) {
	labels := map[string]bool{}
	for k := range metadata {
		if parts := strings.Split(k, "."); len(parts) == 4 && parts[0] == "apiml" && parts[1] == "apiInfo" {
			labels[parts[2]] = true
		}
	}
	byNumber := func(a, b string) int {
		n, err := strconv.Atoi(a)
		m, fail := strconv.Atoi(b)
		if err == nil && fail == nil {
			return n - m
		}
		return strings.Compare(a, b)
	}
	for _, label := range slices.SortedFunc(maps.Keys(labels), byNumber) {
		get := func(field string) string { return metadata["apiml.apiInfo."+label+"."+field] }
		info := zoweAPIInfo{
			APIID: get("apiId"), GatewayURL: strings.Trim(get("gatewayUrl"), "/"), SwaggerURL: get("swaggerUrl"),
			DocumentationURL: get("documentationUrl"), Version: get("version"), DefaultAPI: strings.EqualFold(get("defaultApi"), "true"),
		}
		if info.GatewayURL != "" {
			info.BasePath = "/" + id + "/" + info.GatewayURL
			info.BaseURL = gateway + info.BasePath
		}
		all = append(all, info)
	}
	return all
}

// homePage is the service's page through the gateway where one of its ui routes leads there, else as it says itself.
func homePage(in *eureka.Instance, id, gateway string) string {
	u, err := url.Parse(in.HomePageURL)
	if err != nil || in.HomePageURL == "" {
		return ""
	}
	for _, k := range slices.Sorted(maps.Keys(in.Metadata)) {
		label, ok := strings.CutSuffix(k, ".gatewayUrl")
		gatewayURL := strings.Trim(in.Metadata[k], "/")
		if !ok || !strings.HasPrefix(label, "apiml.routes.") || !strings.HasPrefix(gatewayURL, "ui/") {
			continue
		}
		serviceURL := "/" + strings.Trim(in.Metadata[label+".serviceUrl"], "/")
		rest, under := strings.CutPrefix(strings.TrimSuffix(u.EscapedPath(), "/")+"/", strings.TrimSuffix(serviceURL, "/")+"/")
		if under {
			return gateway + "/" + id + "/" + gatewayURL + "/" + rest
		}
	}
	return in.HomePageURL
}
