package config

import (
	"reflect"
	"slices"
	"strings"
)

// restartKeys are the keys that are read once, at start, and the sections all of whose keys are.
var restartKeys = []string{
	"gateway.listeners", "gateway.cookieKeyFile", "limits.headerBytes", "registry", "eureka", "accessLog", "log.format", "dataDir", "manifests",
	"kubernetes.enabled", "kubernetes.kubeconfig", "kubernetes.context", "kubernetes.namespaces", "kubernetes.leaderElection",
	"kubernetes.leaseName", "kubernetes.leaseNamespace", "kubernetes.publishService",
}

// reloadedKeys are the exceptions.
var reloadedKeys = []string{"registry.forgetAfter", "registry.auth.users", "registry.auth.usersFile"}

// Diff returns the keys that differ between old and next and that only a restart brings into
// effect, in the order of the struct. A list that differs is one key.
func Diff(old, next *Config) []string {
	var keys []string
	diff("", reflect.ValueOf(*old), reflect.ValueOf(*next), func(key string) {
		if needsRestart(key) {
			keys = append(keys, key)
		}
	})
	if hasUsers(old) && !hasUsers(next) { // the registry that asked for users goes on asking
		keys = append(keys, "registry.auth")
	}
	return keys
}

func hasUsers(c *Config) bool { a := c.Registry.Auth; return len(a.Users) > 0 || a.UsersFile != "" }

func needsRestart(key string) bool {
	return !slices.Contains(reloadedKeys, key) && slices.ContainsFunc(restartKeys, func(k string) bool {
		return key == k || strings.HasPrefix(key, k+".")
	})
}

// diff reports the keys below key in which a and b differ.
func diff(key string, a, b reflect.Value, report func(string)) {
	if a.Kind() == reflect.Struct {
		for _, f := range fieldsOf(a.Type()) {
			diff(join(key, f.name), a.FieldByIndex(f.index), b.FieldByIndex(f.index), report)
		}
		return
	}
	if !same(a, b) {
		report(key)
	}
}

// same compares two values; a list that is absent is the same as an empty one.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
