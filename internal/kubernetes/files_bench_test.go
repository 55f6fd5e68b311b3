package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// manyRoutes writes n HTTPRoutes of three matches each, on hosts of their own, and returns the directory.
func manyRouteFiles(tb testing.TB, n int) string {
	tb.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route-%d
  namespace: shop
spec:
  parentRefs:
  - name: gateway
  hostnames: ["host-%d.example.com"]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /api}
    - path: {type: Exact, value: /login}
      method: POST
    - path: {type: PathPrefix, value: /ws}
      headers: [{name: X-Tenant, value: "%d"}]
    backendRefs:
    - name: backend-%d
      port: 8080
---
`, i, i, i, i%100)
	}
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "routes.yaml"), []byte(b.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// BenchmarkFilesLoad10000 reads 10,000 HTTPRoutes from one file.
func BenchmarkFilesLoad10000(b *testing.B) {
	dir := manyRouteFiles(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		set, err := (&Files{Paths: []string{dir}}).Load()
		if err != nil || len(set.HTTPRoutes) != 10_000 {
			b.Fatal(err)
		}
	}
}

// BenchmarkFilesReload10000 reads them again after one of them has changed.
func BenchmarkFilesReload10000(b *testing.B) {
	dir := manyRouteFiles(b, 10_000)
	files := &Files{Paths: []string{dir}}
	n := 0
	for b.Loop() {
		n++
		if err := os.WriteFile(filepath.Join(dir, "one.yaml"), fmt.Appendf(nil, "apiVersion: v1\nkind: Namespace\nmetadata: {name: n%d}\n", n), 0o600); err != nil {
			b.Fatal(err)
		}
		if set, err := files.Load(); err != nil || len(set.HTTPRoutes) != 10_000 {
			b.Fatal(err)
		}
	}
}
