package route

import "strings"

// Allows tells whether pages of that origin may read answers (Gateway API, HTTPCORSFilter.allowOrigins): "*" in the host of an
// allowed origin stands for any number of labels, and alone for every origin, "null" excepted where credentials may come
// with a request: every sandboxed page has that origin.
func (c *CORS) Allows(origin string) bool {
	given, err := parseOrigin(origin)
	for _, allowed := range c.AllowOrigins {
		switch {
		case allowed == "*":
			if err == nil || origin == "null" && !c.AllowCredentials {
				return true
			}
		case err == nil && coversOrigin(allowed, given):
			return true
		}
	}
	return false
}

// coversOrigin tells whether an origin with or without "*" in its host covers another one.
func coversOrigin(pattern string, given originKey) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		want, err := parseOrigin(pattern)
		return err == nil && want == given
	}
	want, err := parseOrigin(before + "x" + after) // the star is a part of a label, or some labels
	if err != nil || want.scheme != given.scheme || want.port != given.port {
		return false
	}
	_, head, _ := strings.Cut(strings.ToLower(before), "://")
	tail := strings.ToLower(strings.TrimSuffix(after, ":"+want.port))
	return len(given.host) > len(head)+len(tail) && strings.HasPrefix(given.host, head) && strings.HasSuffix(given.host, tail)
}
