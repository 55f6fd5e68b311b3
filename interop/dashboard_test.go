package interop

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var demoData = regexp.MustCompile(`(?m)^Data\s+(\S+)$`)

// Headless Chromium opens the gateway's own page, sees a session, moves it, drains an instance and takes that back, and closes the
// session: its client is told.
func TestDashboardInChromium(t *testing.T) {
	d := startDemo(t)
	found := demoData.FindStringSubmatch(d.out.String())
	if found == nil {
		t.Fatalf("the demo does not say where its data is:\n%s", d.out)
	}
	password, err := os.ReadFile(filepath.Join(found[1], "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(d.cert.RawSubjectPublicKeyInfo)
	run(t, 5*time.Minute, command{
		name: "dashboard.js",
		env: []string{
			"PAGE=https://" + d.https + "/application/",
			"WEBSOCKET=wss://" + d.https + "/discoverableclient/ws/v1/header",
			"PASSWORD=" + strings.TrimSpace(string(password)),
			"SPKI=" + base64.StdEncoding.EncodeToString(pin[:]),
			"PROFILE=" + filepath.Join(t.TempDir(), "profile"),
			"SCREENSHOT=" + os.Getenv("FAIRLEAD_SCREENSHOT"),
		},
		argv: []string{"node", absolute(t, "node/dashboard.js")},
	})
}
