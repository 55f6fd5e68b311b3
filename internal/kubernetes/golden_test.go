package kubernetes

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

var update = flag.Bool("update", false, "write testdata/*/*.txt")

// TestTranslate holds translations to testdata/translate: NAME.yaml are the objects, with options in lines that begin with "#! ",
// NAME.txt is what becomes of them.
func TestTranslate(t *testing.T) { goldens(t, "translate", describe) }

// goldens holds what describe says of the translations of testdata/DIR/*.yaml to the texts beside them.
func goldens(t *testing.T, dir string, describe func(*Result) string) {
	files, err := filepath.Glob("testdata/" + dir + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			set := objects(t, text)
			got := describe(Translate(set, options(t, text)))
			if again := describe(Translate(set, options(t, text))); again != got {
				t.Errorf("the second translation differs:\n%s", diff(got, again))
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("not as %s says (-update writes it):\n%s", golden, diff(string(want), got))
			}
		})
	}
}

// diff shows lines that are in one text alone.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range w {
		if !slices.Contains(g, l) {
			fmt.Fprintln(&b, "-", l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			fmt.Fprintln(&b, "+", l)
		}
	}
	return b.String()
}

// options reads the lines of a test file that begin with "#! ".
func options(t testing.TB, text []byte) Options {
	o := Options{Pool: upstream.NewPool(), Unbound: map[string]error{}, Reserved: map[netip.AddrPort]string{}}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "#!" {
			continue
		}
		switch words[1] {
		case "anyClass":
			o.AnyClass = true
		case "probeFromPods":
			o.ProbeFromPods = true
		case "defaults":
			o.Defaults = saidBy(t, words[2:])
		case "portOffset":
			o.PortOffset, _ = strconv.Atoi(words[2])
		case "pool":
			o.Addresses = netip.MustParsePrefix(words[2])
		case "unbound":
			o.Unbound[words[2]] = map[string]error{
				"EADDRNOTAVAIL": syscall.EADDRNOTAVAIL, "EADDRINUSE": syscall.EADDRINUSE, "EMFILE": syscall.EMFILE, "EACCES": syscall.EACCES,
			}[words[3]]
		case "reserved":
			port, err := netip.ParseAddrPort(words[2])
			if err != nil {
				n, _ := strconv.Atoi(strings.TrimPrefix(words[2], ":"))
				port = netip.AddrPortFrom(netip.Addr{}, uint16(n))
			}
			o.Reserved[port] = words[3]
		case "eureka":
			at, policy := netip.MustParseAddrPort(words[3]), saidBy(t, words[4:])
			o.Eureka = func(id string) ([]upstream.Spec, map[string]int, route.Policy, bool) {
				if id != words[2] {
					return nil, nil, route.Policy{}, false
				}
				return []upstream.Spec{{ID: "instance", Scheme: "https", Host: at.Addr().String(), Port: int(at.Port())}}, nil, policy, true
			}
		default:
			t.Fatalf("%q: no such option", words[1])
		}
	}
	return o
}

// saidBy is a policy of "field=value".
func saidBy(t testing.TB, words []string) (p route.Policy) {
	t.Helper()
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if err := p.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// objects reads the documents of a test file. Where a Secret or ConfigMap has "key: ecdsa" or "key: rsa" as its data, it gets a key pair
// of that kind, and a bundle with its certificate.
func objects(t testing.TB, text []byte) *Set {
	set := new(Set)
	fields := map[string]reflect.Value{} // by the name of the type, and where AGC has one of that name, "alb/" before it
	for i := range reflect.TypeFor[Set]().NumField() {
		v := reflect.ValueOf(set).Elem().Field(i)
		if v.Kind() != reflect.Slice || v.Type().Elem().Kind() != reflect.Pointer {
			continue // what is known besides the objects
		}
		fields[typeKey(v.Type().Elem().Elem().PkgPath())+v.Type().Elem().Elem().Name()] = v
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc map[string]any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return set
		} else if err != nil {
			t.Fatal(err)
		}
		kind, _ := doc["kind"].(string)
		if data, _ := doc["data"].(map[string]any); data["key"] != nil {
			doc["data"] = keyData(kind, fmt.Sprint(data["key"]))
		}
		version, _ := doc["apiVersion"].(string)
		list, ok := fields[typeKey(version)+kind]
		if !ok {
			t.Fatalf("no field for kind %q", kind)
		}
		js, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		o := reflect.New(list.Type().Elem().Elem())
		if err := json.Unmarshal(js, o.Interface()); err != nil {
			t.Fatalf("%s: %v", js, err)
		}
		meta := o.Interface().(metav1.Object)
		if meta.GetNamespace() == "" && kind != "Namespace" && kind != "GatewayClass" {
			meta.SetNamespace("default")
		}
		if meta.GetGeneration() == 0 {
			meta.SetGeneration(1)
		}
		list.Set(reflect.Append(list, o))
	}
}

func typeKey(of string) string {
	if strings.Contains(of, "/alb/") || strings.HasPrefix(of, "alb.") {
		return "alb/"
	}
	return ""
}

var keyPairs = sync.OnceValue(func() map[string]map[string][]byte {
	pairs := map[string]map[string][]byte{}
	for _, kind := range []string{"ecdsa", "rsa"} {
		var public, private any
		if kind == "rsa" {
			k, _ := rsa.GenerateKey(rand.Reader, 2048)
			public, private = &k.PublicKey, k
		} else {
			k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			public, private = &k.PublicKey, k
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"test.example"},
			NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
		if err != nil {
			panic(err)
		}
		key, _ := x509.MarshalPKCS8PrivateKey(private)
		pairs[kind] = map[string][]byte{
			corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		}
		pairs[kind][caKey] = pairs[kind][corev1.TLSCertKey]
	}
	return pairs
})

func keyData(kind, of string) any {
	pair := keyPairs()[of]
	if kind == "Secret" {
		return pair
	}
	return map[string]string{caKey: string(pair[caKey])}
}

// describe is a Result in words.
func describe(r *Result) string {
	var b strings.Builder
	for _, l := range r.Set.Listeners {
		describeListener(&b, l)
	}
	for i := range r.Statuses {
		s := &r.Statuses[i]
		fmt.Fprintf(&b, "\n%s %s\n", s.Kind, strings.TrimPrefix(s.Metadata.Namespace+"/"+s.Metadata.Name, "/"))
		describeStatus(&b, s)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "\nproblem: %s: %s\n", p.Object, p.Text)
	}
	return b.String()
}

func describeListener(b *strings.Builder, l *route.Listener) {
	fmt.Fprintf(b, "%s %s, port %d: %s\n", l.Key(), l.Transport, l.Port, l.Name)
	for _, h := range l.Hosts {
		fmt.Fprintf(b, "  host %q %s", h.Hostname, h.Name)
		if h.Raw {
			fmt.Fprint(b, ", raw")
		}
		if h.TLS != nil {
			var keys []string
			for _, c := range h.TLS.Certificates {
				keys = append(keys, c.Leaf.PublicKeyAlgorithm.String())
			}
			fmt.Fprintf(b, ", TLS with %s", strings.Join(keys, " and "))
			if h.TLS.ClientCAs != nil {
				fmt.Fprintf(b, ", client certificates")
			}
			if h.TLS.AllowInsecure {
				fmt.Fprintf(b, " or none")
			}
			if len(h.TLS.ClientNames) > 0 {
				fmt.Fprintf(b, " of %s", strings.Join(h.TLS.ClientNames, ", "))
			}
			if h.TLS.MinVersion != 0 || h.TLS.CipherSuites != nil {
				fmt.Fprintf(b, ", version %x at least, %d cipher suites", h.TLS.MinVersion, len(h.TLS.CipherSuites))
			}
		}
		fmt.Fprintln(b)
		for _, rule := range h.Rules {
			describeRoute(b, rule.Route, rule.Hostnames)
		}
		for _, s := range h.Streams {
			describeRoute(b, s.Route, s.Hostnames)
		}
	}
}

func describeRoute(b *strings.Builder, r *route.Route, hostnames []string) {
	fmt.Fprintf(b, "    %s", r.ID)
	if hostnames != nil {
		fmt.Fprintf(b, " for %s", strings.Join(hostnames, ", "))
	}
	for i := range r.Backends {
		k := &r.Backends[i]
		fmt.Fprintf(b, "; %d to %s", k.Weight, k.Name)
		if k.Invalid != "" {
			fmt.Fprint(b, " (invalid)")
		}
	}
	fmt.Fprintln(b)
}

func describeStatus(b *strings.Builder, s *Status) {
	if g, ok := s.Status.(gatewayv1.GatewayStatus); ok {
		for _, a := range g.Addresses {
			fmt.Fprintf(b, "  address %s %s\n", *a.Type, a.Value)
		}
		if *g.AttachedListenerSets > 0 {
			fmt.Fprintf(b, "  attachedListenerSets %d\n", *g.AttachedListenerSets)
		}
	}
	last, fine := "", []string{}
	flush := func() {
		if len(fine) > 0 {
			fmt.Fprintf(b, "  %s%s\n", strings.Repeat("  ", min(len(last), 1)), strings.Join(fine, ", "))
			fine = nil
		}
	}
	for at, c := range Conditions(s) {
		if at != last {
			flush()
			fmt.Fprintf(b, "  %s%s\n", at, describePlace(s, at))
			last = at
		}
		if c.ObservedGeneration != s.Metadata.Generation {
			fmt.Fprintf(b, "WRONG GENERATION %d\n", c.ObservedGeneration)
		}
		switch {
		case c.Status == metav1.ConditionTrue && c.Type == c.Reason:
			fine = append(fine, c.Type)
			continue
		case c.Reason == "NoConflicts" && c.Status == metav1.ConditionFalse:
			fine = append(fine, c.Reason)
			continue
		}
		flush()
		fmt.Fprintf(b, "  %s%s %s, %s: %s\n", strings.Repeat("  ", min(len(at), 1)), c.Type, c.Status, c.Reason, c.Message)
	}
	flush()
}

// describePlace says what a status tells of a listener besides conditions.
func describePlace(s *Status, at string) string {
	kinds := func(list []gatewayv1.RouteGroupKind, attached int32) string {
		var names []string
		for _, k := range list {
			names = append(names, string(k.Kind))
		}
		return fmt.Sprintf(" for [%s], %d attached", strings.Join(names, " "), attached)
	}
	switch st := s.Status.(type) {
	case gatewayv1.GatewayStatus:
		for _, l := range st.Listeners {
			if at == "listeners["+string(l.Name)+"]" {
				return kinds(l.SupportedKinds, l.AttachedRoutes)
			}
		}
	case gatewayv1.ListenerSetStatus:
		for _, l := range st.Listeners {
			if at == "listeners["+string(l.Name)+"]" {
				return kinds(l.SupportedKinds, l.AttachedRoutes)
			}
		}
	}
	if st, ok := s.Status.(gatewayv1.PolicyStatus); ok {
		for i, a := range st.Ancestors {
			if at == fmt.Sprintf("ancestors[%d]", i) {
				return " " + string(*a.AncestorRef.Kind) + " " + string(a.AncestorRef.Name) + strings.TrimSuffix("/"+stringOr(a.AncestorRef.SectionName, ""), "/")
			}
		}
	}
	v := reflect.ValueOf(s.Status).FieldByName("Parents")
	if !v.IsValid() {
		return ""
	}
	for i, p := range v.Interface().([]gatewayv1.RouteParentStatus) {
		if at != fmt.Sprintf("parents[%d]", i) {
			continue
		}
		text := " " + stringOr(p.ParentRef.Kind, "Gateway") + " " + string(p.ParentRef.Name)
		if p.ParentRef.SectionName != nil {
			text += "/" + string(*p.ParentRef.SectionName)
		}
		if p.ParentRef.Port != nil {
			text += fmt.Sprintf(":%d", *p.ParentRef.Port)
		}
		return text
	}
	return ""
}
