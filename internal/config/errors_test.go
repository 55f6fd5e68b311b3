package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// lines joins what is easier to read one below the other.
func lines(text ...string) string { return strings.Join(text, "\n") }

const topKeys = "the keys here are gateway, limits, registry, eureka, kubernetes, manifests, auth, upstream, defaults, admin, accessLog, log, dataDir"

// TestErrors compares whole texts: they are what an operator has.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"unknown key", "gateway:\n  listeners:\n    - {name: https, adress: \":1\", tls: {}}\n", lines(
			"f.yaml:3:21: gateway.listeners[0].adress: unknown key",
			"    3 |     - {name: https, adress: \":1\", tls: {}}",
			"      |                     ^",
			`fairlead: hint: did you mean "address"? the keys here are name, address, redirectToHTTPS, proxyProtocol, tls`,
		)},
		{"key of another section", "listeners: []", lines(
			"f.yaml:1:1: listeners: unknown key",
			"    1 | listeners: []",
			"      | ^",
			"fairlead: hint: did you mean gateway.listeners? "+topKeys,
		)},
		{"key like nothing", "xyzzy: 1", lines(
			"f.yaml:1:1: xyzzy: unknown key",
			"    1 | xyzzy: 1",
			"      | ^",
			"fairlead: hint: "+topKeys,
		)},
		{"several, in the order of the file", "dataDir: []\nlog:\n  levle: x\n  format: {}\n", lines(
			"f.yaml:1:1: dataDir: want text, found a list",
			"    1 | dataDir: []",
			"      | ^",
			"fairlead: hint: "+hintValue,
			"fairlead: f.yaml:3:3: log.levle: unknown key",
			"    3 |   levle: x",
			"      |   ^",
			`fairlead: hint: did you mean "level"? the keys here are level, format`,
			"fairlead: f.yaml:4:3: log.format: want text, found keys and values",
			"    4 |   format: {}",
			"      |   ^",
			"fairlead: hint: "+hintValue,
		)},
		{"duplicate key", "log: {}\nlog: {}\n", lines(
			"f.yaml:2:1: log: is there twice, first in line 1",
			"    2 | log: {}",
			"      | ^",
			"fairlead: hint: remove one of them",
		)},
		{"duplicate key of an inlined struct", "registry: {auth: {users: [], users: []}}\n", lines(
			"f.yaml:1:30: registry.auth.users: is there twice, first in line 1",
			"fairlead: hint: remove one of them",
		)},
		{"not text at the top", "text", lines("f.yaml:1:1: want keys and values, found a value", "    1 | text", "      | ^")},
		{"a list at the top", "- a", lines("f.yaml:1:1: want keys and values, found a list", "    1 | - a", "      | ^")},
		{"bad duration", "gateway:\r\n  shutdownTimeout: 10\r\n", lines(
			`f.yaml:2:20: gateway.shutdownTimeout: duration "10": lacks a unit: want ms, s, m or h, as 30s`,
			"    2 |   shutdownTimeout: 10",
			"      |                    ^",
			"fairlead: hint: "+hintValue,
		)},
		{"bad size", "limits: {headerBytes: 64KB}", lines(
			`f.yaml:1:23: limits.headerBytes: size "64KB": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
			"    1 | limits: {headerBytes: 64KB}",
			"      |                       ^",
			"fairlead: hint: "+hintValue,
		)},
		{"bad number", "limits: {sessions: 1e3}", lines(
			`f.yaml:1:20: limits.sessions: "1e3": want a whole number`,
			"    1 | limits: {sessions: 1e3}",
			"      |                    ^",
			"fairlead: hint: "+hintValue,
		)},
		{"bad boolean", "kubernetes: {enabled: yes}", lines(
			`f.yaml:1:23: kubernetes.enabled: "yes": want true or false`,
			"    1 | kubernetes: {enabled: yes}",
			"      |                       ^",
			"fairlead: hint: "+hintValue,
		)},
		{"bad word", "defaults: {auth: token}", lines(
			`f.yaml:1:18: defaults.auth: "token": want none, or one or more of basic, bearer, clientCertificate`,
			"    1 | defaults: {auth: token}",
			"      |                  ^",
			"fairlead: hint: "+hintValue,
		)},
		{"value of a later version", "defaults: {auth: forward}", lines(
			`f.yaml:1:18: defaults.auth: "forward": not available in this version`,
			"    1 | defaults: {auth: forward}",
			"      |                  ^",
			"fairlead: hint: "+hintValue,
		)},
		{"key of a later version without a struct", "limits:\n  connectionsPerClient: 4\n", lines(
			"f.yaml:2:3: limits.connectionsPerClient: not available in this version",
			"    2 |   connectionsPerClient: 4",
			"      |   ^",
			"fairlead: hint: remove the key",
		)},
		{"ways without what they need", "defaults: {auth: [basic, bearer]}", lines(
			`f.yaml:1:12: defaults.auth: "basic": auth.basic has no users, so nobody could come in`,
			"    1 | defaults: {auth: [basic, bearer]}",
			"      |            ^",
			"fairlead: hint: set auth.basic.users or auth.basic.usersFile",
			`fairlead: f.yaml:1:12: defaults.auth: "bearer": auth.jwt has no issuers, so nobody could come in`,
			"    1 | defaults: {auth: [basic, bearer]}",
			"      |            ^",
			"fairlead: hint: set auth.jwt.issuers",
		)},
		{"a list of ways with one that is none", "defaults: {auth: [bearer, token]}", lines(
			`f.yaml:1:18: defaults.auth: "token": want none, or one or more of basic, bearer, clientCertificate`,
			"    1 | defaults: {auth: [bearer, token]}",
			"      |                  ^",
			"fairlead: hint: "+hintValue,
		)},
		{"keys of an issuer over plain http", "auth: {jwt: {issuers: [{issuer: a, jwksUri: http://id.example/jwks}]}}", lines(
			`f.yaml:1:45: auth.jwt.issuers[0].jwksUri: "http://id.example/jwks": keys are not taken over plain http, but from loopback`,
			"    1 | auth: {jwt: {issuers: [{issuer: a, jwksUri: http://id.example/jwks}]}}",
			"      |                                             ^",
			`fairlead: hint: write it as "https://issuer.example/jwks.json"`,
		)},
		{"a key of an issuer", "auth:\n  jwt:\n    issuers:\n      - issuer: a\n        keys:\n          - nonsense\n", lines(
			"f.yaml:6:13: auth.jwt.issuers[0].keys[0]: neither a JWK set nor a public key in PEM",
			"    6 |           - nonsense",
			"      |             ^",
			"fairlead: hint: write a PEM block of a public key, with its BEGIN and END lines, behind a |",
		)},
		{"an algorithm for confusion", "auth: {jwt: {issuers: [{issuer: a, jwksUri: 'https://id.example/', algorithms: [RS256, HS256, none]}]}}", lines(
			`f.yaml:1:88: auth.jwt.issuers[0].algorithms[1]: "HS256": it needs a secret, and there is none`,
			"    1 | auth: {jwt: {issuers: [{issuer: a, jwksUri: 'https://id.example/', algorithms: [RS256, HS256, none]}]}}",
			"      |                                                                                        ^",
			"fairlead: hint: "+hintValue,
			`fairlead: f.yaml:1:95: auth.jwt.issuers[0].algorithms[2]: "none": want one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384, HS512`,
			"    1 | auth: {jwt: {issuers: [{issuer: a, jwksUri: 'https://id.example/', algorithms: [RS256, HS256, none]}]}}",
			"      |                                                                                               ^",
			"fairlead: hint: "+hintValue,
		)},
		{"kubeconfig", "kubernetes: {enabled: true, kubeconfig: /nowhere/config}\nmanifests: [.]", lines(
			"f.yaml:1:41: kubernetes.kubeconfig: stat /nowhere/config: no such file or directory",
			"    1 | kubernetes: {enabled: true, kubeconfig: /nowhere/config}",
			"      |                                         ^",
			"fairlead: hint: name a kubeconfig that this user may read, or run in a pod with a service account",
			"fairlead: f.yaml:2:1: manifests: objects come from the cluster: kubernetes.enabled is true",
			"    2 | manifests: [.]",
			"      | ^",
			"fairlead: hint: remove one of the two",
		)},
		{"address of a cluster", "eureka:\n  serviceUrls: [\"http://h/\", \"ftp://me:secret@h/\"]\n", lines(
			"f.yaml:2:30: eureka.serviceUrls[1]: scheme \"ftp\": want http or https",
			"    2 |   serviceUrls: [\"http://h/\", \"ftp://me:secret@h/\"]",
			"      |                              ^",
			"fairlead: hint: write it as \"https://host:10011/eureka/\"",
		)},
		{"nothing behind a key", "dataDir:\nlog: {}\n", lines(
			"f.yaml:1:1: dataDir: has no value",
			"    1 | dataDir:",
			"      | ^",
			"fairlead: hint: remove the key, and its default holds",
		)},
		{"tls without a value", "gateway:\n  listeners:\n  - address: :1\n    tls:\n", lines(
			"f.yaml:4:5: gateway.listeners[0].tls: has no value",
			"    4 |     tls:",
			"      |     ^",
			"fairlead: hint: write {} to turn it on with its defaults, or remove the key",
		)},
		{"nothing behind a dash", "manifests:\n  -\n", lines(
			"f.yaml:2:3: manifests[0]: has no value",
			"    2 |   -",
			"      |   ^",
			"fairlead: hint: remove the item",
		)},
		{"tab", "log:\n\tlevel: info\n", "f.yaml:2:1: tab in the indentation\nfairlead: hint: YAML is indented with spaces"},
		{"bytes", "log: \xff", "f.yaml:1:6: byte 0xff is not UTF-8\nfairlead: hint: save the file as UTF-8"},
		{"control character", "log: \x1b[1m", "f.yaml:1:6: character U+001B\nfairlead: hint: write it as an escape in double quotes, \"\\n\""},
		{"syntax", "log: {level: info", lines("f.yaml:1:6: not YAML: could not find flow mapping end token '}'", "    1 | log: {level: info", "      |      ^")},
		{"indentation", "log:\n    level: info\n  format: text\n", lines(
			"f.yaml:3:3: not YAML: value is not allowed in this context",
			"    3 |   format: text",
			"      |   ^",
		)},
		{"anchor", "log: &a {}", lines(
			"f.yaml:1:6: anchors, aliases and merge keys are not supported",
			"    1 | log: &a {}",
			"      |      ^",
			"fairlead: hint: write the value out, or quote it",
		)},
		{"tag", "dataDir: !!str x", lines(
			"f.yaml:1:10: tags and directives are not supported",
			"    1 | dataDir: !!str x",
			"      |          ^",
			"fairlead: hint: remove it, or quote the value",
		)},
		{"two documents", "log: {}\n---\nlog: {}\n", lines(
			"f.yaml:3:1: a second document",
			"    3 | log: {}",
			"      | ^",
			"fairlead: hint: one file holds one configuration: remove the ---",
		)},
		{"variable that is not set", "dataDir: ${NOPE}", lines(
			"f.yaml:1:10: dataDir: environment variable NOPE is not set",
			"    1 | dataDir: ${NOPE}",
			"      |          ^",
			"fairlead: hint: set it, or write ${NAME:-default}; $${ stands for ${ itself",
		)},
		{"variable without end", "dataDir: ${NOPE", lines(
			"f.yaml:1:10: dataDir: ${ without }",
			"    1 | dataDir: ${NOPE",
			"      |          ^",
			"fairlead: hint: set it, or write ${NAME:-default}; $${ stands for ${ itself",
		)},
		{"variable with a bad name", "dataDir: ${1X}", lines(
			"f.yaml:1:10: dataDir: ${1X}: want the name of an environment variable between the braces",
			"    1 | dataDir: ${1X}",
			"      |          ^",
			"fairlead: hint: set it, or write ${NAME:-default}; $${ stands for ${ itself",
		)},
		{"variable without quotes in braces", "log: {level: ${LEVEL}}", lines(
			"f.yaml:1:15: ${...} inside { } or [ ] needs quotes",
			"    1 | log: {level: ${LEVEL}}",
			"      |               ^",
			`fairlead: hint: write "${NAME}"`,
		)},
		{"columns are characters", "log: {level: \"größe\", format: yaml}", lines(
			"f.yaml:1:14: log.level: \"größe\": want debug, info, warn or error",
			"    1 | log: {level: \"größe\", format: yaml}",
			"      |              ^",
			"fairlead: hint: "+hintValue,
			"fairlead: f.yaml:1:31: log.format: \"yaml\": want text or json",
			"    1 | log: {level: \"größe\", format: yaml}",
			"      |                               ^",
			"fairlead: hint: "+hintValue,
		)},
		{"a user's line is not shown", "admin:\n  users:\n  - secret\n  - 'bob:{SHA}x'\n  - '" + hash + "'\n  - '" + hash + "'\n", lines(
			"f.yaml:3:5: admin.users[0]: want name:hash, as htpasswd -nB makes it",
			"fairlead: hint: htpasswd -nB NAME makes a line",
			`fairlead: f.yaml:4:5: admin.users[1]: user "bob": the hash is not bcrypt: make one with htpasswd -nB bob`,
			"fairlead: hint: htpasswd -nB NAME makes a line",
		)},
		{"a user twice", "auth:\n  basic:\n    users: ['" + hash + "', '" + hash + "']\n", lines(
			`f.yaml:3:81: auth.basic.users[1]: user "ada" is there twice`,
			"fairlead: hint: name each user once",
		)},
		{"registry", "registry: {address: \"0.0.0.0:10012\"}", lines(
			`f.yaml:1:21: registry.address "0.0.0.0:10012" is not loopback, and anyone could register there`,
			`    1 | registry: {address: "0.0.0.0:10012"}`,
			"      |                     ^",
			"fairlead: hint: set registry.auth.users or registry.auth.clientCertificates, or registry.insecure: true",
		)},
		{"policy", "defaults:\n  websocket:\n    maxMessageSize: 1\n    pongTimeout: -1s\n", lines(
			"f.yaml:4:18: defaults.websocket.pongTimeout: -1s: want more than 0",
			"    4 |     pongTimeout: -1s",
			"      |                  ^",
			"fairlead: hint: "+hintValue,
		)},
		{"access log", "accessLog: {format: xml}", lines(
			`f.yaml:1:21: accessLog.format "xml": want json, agc or common`,
			"    1 | accessLog: {format: xml}",
			"      |                     ^",
			"fairlead: hint: "+hintValue,
		)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f.yaml", []byte(tt.file), env)
			if err == nil {
				t.Fatalf("accepted:\n%s", tt.file)
			}
			if err.Error() != tt.want {
				t.Errorf("have\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// TestPlaces puts one mistake behind whatever may stand before it.
func TestPlaces(t *testing.T) {
	for _, before := range []string{
		"", "\n\n", "# c\n", "---\n", "--- # c\n", "\ufeff", "\ufeff# c\r\n", "dataDir: x # ü\n", "dataDir: \"a\n  b\"\n", "dataDir: 'a\n\n  b'\n",
		"dataDir: a\n  b\n", "dataDir: |\n  a\n  b\n\n\n", "dataDir: >-\n  a\n\n  b\n# c\n", "\"dataDir\": 'ü''ü'\n", "manifests: [\n\n  # c\n]\n",
		"manifests:\n# c\n\nlimits: { # c\n  sessions: 1, # c\n}\n", "admin: {users: [], usersFile: \"\"}   \n\n", "dataDir: \"\\u00fc\\n\\\"\"\r\n",
		"registry:\n  auth:\n    # c\n    users: []\n\n  plain: true # c\n", "gateway: {listeners: [{address: ':1'}, {address: ':0', name: x}]}\n",
	} {
		line := strings.Count(before, "\n") + 1
		for _, tt := range []struct {
			text      string
			down, col int
		}{
			{"log: {level: no}", 0, 14},
			{"log: {format: text,   level: \"no\"}", 0, 30},
			{"log:\n  level: no", 1, 10},
			{"log:\n\n   # c\n   level:     'no' # c", 3, 15},
			{"log:\n  # ü\n  \"level\"  : no\n", 2, 14},
			{"log: {\n  level:\n    no\n}", 2, 5},
			{"log:\n  level: >-\n    no\n", 1, 10},
			{"accessLog: {path: 'te\n\n  xt', format: no}", 2, 16},
		} {
			_, err := Parse("f.yaml", []byte(before+tt.text), env)
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%q: %v", before+tt.text, err)
				continue
			}
			if e.Line != line+tt.down || e.Column != tt.col {
				t.Errorf("%q: at %d:%d, want %d:%d", before+tt.text, e.Line, e.Column, line+tt.down, tt.col)
			}
		}
	}
}

func TestManyErrors(t *testing.T) {
	_, err := Parse("f.yaml", []byte("log: {}\n"+strings.Repeat("log: {}\n", 100)), env)
	var all Errors
	if !errors.As(err, &all) || len(all) != maxErrors+1 || all[maxErrors].Error() != "f.yaml: 80 more errors" {
		t.Errorf("%v", err)
	}
	if _, err := Parse("f.yaml", []byte(strings.Repeat("\n", maxLines)), env); err == nil || err.Error() != "f.yaml: 10001 lines, at most 10000 are read" {
		t.Errorf("%v", err)
	}
	for _, deep := range []string{strings.Repeat("[", 1000), strings.Repeat("a: [", 1000), strings.Repeat("- ", 1000), "[" + strings.Repeat("- ", 1000)} {
		if _, err := Parse("f.yaml", []byte(deep), env); err == nil {
			t.Errorf("accepted %.20s...", deep)
		}
	}
}

func TestErrorAt(t *testing.T) {
	c := mustParse(t, "gateway:\n  listeners:\n    - address: \"127.0.0.1:1\"\nregistry: {enabled: true}\n")
	for _, tt := range []struct {
		key  string
		err  error
		hint string
		want string
	}{
		{"gateway.listeners[0].address", errors.New("listen tcp 127.0.0.1:1: bind: permission denied"), "be root", lines(
			"fairlead.yaml:3:16: gateway.listeners[0].address: listen tcp 127.0.0.1:1: bind: permission denied",
			"    3 |     - address: \"127.0.0.1:1\"",
			"      |                ^",
			"fairlead: hint: be root",
		)},
		{"gateway.listeners[0].tls.certFile", errors.New("x"), "", lines(
			"fairlead.yaml:3:7: gateway.listeners[0].tls.certFile: x",
			"    3 |     - address: \"127.0.0.1:1\"",
			"      |       ^",
			"fairlead: hint: "+hintValue,
		)},
		{"gateway.listeners[7].name", errors.New("x"), "", lines("fairlead.yaml:2:3: gateway.listeners[7].name: x", "    2 |   listeners:", "      |   ^", "fairlead: hint: "+hintValue)},
		{"registry", errors.New("registry.enabled: no\nhint: yes"), "", lines(
			"fairlead.yaml:4:21: registry.enabled: no",
			"    4 | registry: {enabled: true}",
			"      |                     ^",
			"fairlead: hint: yes",
		)},
		{"registry.address", errors.New("x"), "", lines("fairlead.yaml:4:1: registry.address: x", "    4 | registry: {enabled: true}", "      | ^", "fairlead: hint: "+hintValue)},
		{"dataDir", fs.ErrPermission, "h", "fairlead.yaml: dataDir: permission denied\nfairlead: hint: h"},
	} {
		err := c.ErrorAt(tt.key, tt.err, tt.hint)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, tt.err) {
			t.Errorf("%s: %T", tt.key, err)
		}
		if err.Error() != tt.want {
			t.Errorf("have\n%v\nwant\n%s", err, tt.want)
		}
	}
	err := Default().ErrorAt("gateway.listeners[0].address", errors.New("in use"), "stop it")
	if want := "default configuration: gateway.listeners[0].address: in use\nfairlead: hint: stop it"; err.Error() != want {
		t.Errorf("have\n%v\nwant\n%s", err, want)
	}
	if !errors.Is(Errors{{Err: fmt.Errorf("x: %w", fs.ErrExist)}}, fs.ErrExist) {
		t.Error("Errors hides its causes")
	}
}
