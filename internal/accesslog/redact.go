package accesslog

import (
	"net/url"
	"strings"
)

// redacted stands for the value of a query key that looks like a secret.
const redacted = "<redacted>"

// secretKeys are the query keys whose values never reach a log, in lower case: those of
// Application Gateway for Containers, and the common spellings that it has not.
var secretKeys = map[string]bool{
	"secret": true, "password": true, "pwd": true, "passwd": true, "key": true, "token": true, "pat": true,
	"accesskey": true, "accesstoken": true, "credential": true, "sas": true, "sig": true, "signature": true,
	"personalaccesstoken": true, "personal.access.token": true,
	"access_token": true, "api_key": true, "apikey": true,
}

// RedactQuery replaces the values of secret-like keys, and of the keys named in extra, by
// "<redacted>". Keys count in any case and any percent-encoding, after "&" and after ";"; a
// secret's value ends only at "&", since most servers take ";" as part of it. Everything else
// stays byte for byte.
func RedactQuery(rawQuery string, extra ...string) string {
	if !strings.Contains(rawQuery, "=") {
		return rawQuery
	}
	var b strings.Builder
	done := 0 // what b has, of rawQuery; nothing is copied before there is something to redact
	for i := 0; i < len(rawQuery); {
		end := endOf(rawQuery, i, "&;")
		if name, value, ok := strings.Cut(rawQuery[i:end], "="); ok && isSecret(name, extra) {
			if stop := endOf(rawQuery, i, "&"); value != "" || stop > end {
				b.WriteString(rawQuery[done : i+len(name)+1])
				b.WriteString(redacted)
				done, end = stop, stop
			}
		}
		i = end + 1
	}
	if done == 0 {
		return rawQuery
	}
	b.WriteString(rawQuery[done:])
	return b.String()
}

// endOf is where the part of s that begins at i ends: before one of the separators.
func endOf(s string, i int, separators string) int {
	if j := strings.IndexAny(s[i:], separators); j >= 0 {
		return i + j
	}
	return len(s)
}

func isSecret(name string, extra []string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = strings.ToLower(name)
	if secretKeys[name] {
		return true
	}
	for _, e := range extra {
		if strings.EqualFold(e, name) {
			return true
		}
	}
	return false
}

// RedactTarget redacts the query of a target or URL.
func RedactTarget(target string, extra ...string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok {
		return target
	}
	shown := RedactQuery(query, extra...)
	if shown == query {
		return target
	}
	return path + "?" + shown
}
