package eureka

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

func TestPagesMayNotWrite(t *testing.T) {
	s := newServer(t, Config{})
	s.want(403, "POST", "/eureka/apps/A", doc("A", "1", ""), "Origin: https://evil.example", "Content-Type: text/plain")
	s.want(403, "POST", "/eureka/apps/A", doc("A", "1", ""), "Sec-Fetch-Site: cross-site")
	s.want(200, "GET", "/eureka/apps", "", "Sec-Fetch-Site: cross-site")
	s.want(403, "POST", "/eureka/apps/A", doc("A", "1", ""), "Host: evil.example", "Origin: http://evil.example")
	if n := s.Stats(); n.Instances != 0 || n.Unauthorized != 3 {
		t.Errorf("%+v", n)
	}
}

func testUsers(t *testing.T, names ...string) *auth.Users {
	t.Helper()
	var lines []string
	for _, n := range names {
		hash, err := bcrypt.GenerateFromPassword([]byte("pass"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, n+":"+string(hash))
	}
	u, err := auth.ParseHtpasswd(strings.NewReader(strings.Join(lines, "\n")), "test")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUsersAndOwnership(t *testing.T) {
	cfg := Config{Auth: AuthConfig{Ownership: true, BasicConfig: auth.BasicConfig{UsersFile: "x"}}}
	r := NewRegistry(cfg, quiet())
	s := serveRegistry(t, r)
	s.want(500, "GET", "/eureka/apps", "") // users were asked for and are not there: nothing is served
	r = NewRegistry(cfg, quiet())
	r.SetUsers(testUsers(t, "ann", "bob"))
	s = serveRegistry(t, r)
	const ann, bob = "Authorization: Basic YW5uOnBhc3M=", "Authorization: Basic Ym9iOnBhc3M="
	status, _, h := s.do("GET", "/eureka/apps", "")
	if status != 401 || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("%d %v", status, h)
	}
	s.want(401, "GET", "/", "")
	s.want(401, "PUT", "/eureka/apps/A/1", "", "Authorization: Basic YW5uOndyb25n")
	s.want(204, "POST", "/eureka/apps/A", doc("A", "1", ""), ofJSON, ann)
	s.want(200, "GET", "/eureka/apps", "", bob)
	s.want(403, "POST", "/eureka/apps/A", doc("A", "2", ""), ofJSON, bob)
	s.want(403, "POST", "/eureka/apps/A", doc("A", "1", ""), ofJSON, bob)
	s.want(403, "PUT", "/eureka/apps/A/1", "", bob)
	s.want(403, "PUT", "/eureka/apps/A/1/status?value=DOWN", "", bob)
	s.want(403, "PUT", "/eureka/apps/A/1/metadata?a=b", "", bob)
	s.want(403, "DELETE", "/eureka/apps/A/1", "", bob)
	s.want(200, "PUT", "/eureka/apps/A/1", "", ann)
	s.want(200, "DELETE", "/eureka/apps/A/1", "", ann)
	s.want(204, "POST", "/eureka/apps/A", doc("A", "1", ""), ofJSON, bob)
}

func TestWhereInstancesMayBe(t *testing.T) {
	for _, tt := range []struct {
		host    string
		allowed []string
		near    bool
		ok      bool
	}{
		{"localhost", nil, true, true},
		{"localhost", nil, false, false},
		{"a.localhost.", nil, false, false},
		{"127.0.0.2", nil, false, false},
		{"::1", nil, false, false},
		{"::ffff:127.0.0.1", nil, false, false},
		{"2130706433", nil, true, false},
		{"017700000001", nil, true, false},
		{"123456789012", nil, true, true},
		{"a.0x7f", nil, true, false},
		{"10.0.0.1", nil, false, true},
		{"service.example", nil, false, true},
		{"my_service-1", nil, false, true},
		{"a:b", nil, false, false},
		{"224.0.0.1", nil, true, false},
		{"a.example.com", []string{"*.example.com"}, false, true},
		{"example.com", []string{"*.example.com"}, false, false},
		{"badexample.com", []string{"*.example.com"}, false, false},
		{"EXAMPLE.com", []string{"example.COM"}, false, true},
		{"10.1.2.3", []string{"10.1.0.0/16"}, false, true},
		{"10.2.2.3", []string{"10.1.0.0/16", "10.2.2.2"}, false, false},
		{"10.2.2.2", []string{"10.1.0.0/16", "10.2.2.2"}, false, true},
		{"169.254.169.254", []string{"169.254.169.254"}, true, false},
	} {
		if err := checkReach(tt.host, tt.allowed, tt.near); (err == nil) != tt.ok {
			t.Errorf("%s, allowed %v, near %v: %v", tt.host, tt.allowed, tt.near, err)
		}
	}
}
