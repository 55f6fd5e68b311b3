package accesslog

import (
	"strings"
)

// textSecrets are the names, besides secretKeys, whose values RedactText hides: fields of HTTP and STOMP, which messages carry too.
var textSecrets = []string{
	"authorization", "proxy-authorization", "cookie", "set-cookie", "passcode", "jwt", "id_token", "refresh_token", "client_secret",
	"secretkey", "secret_key", "private_key", "connectiontoken", "x-api-key",
}

// RedactText replaces, in the text of a message, what follows a name that looks like that of a secret and "=" or ":": in JSON (also as
// a string within JSON), in forms, and in lines of fields. A value ends with its quote, or without one at a comma, a bracket, "&", ";"
// or the end of the line; at the end of s if it was cut. It is a help against reading over somebody's shoulder, and no more: a secret
// that has no such name stays.
func RedactText(s string, extra ...string) string {
	extra = append(extra[:len(extra):len(extra)], textSecrets...)
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '=' && s[i] != ':' || i < done || !isSecret(nameBefore(s[:i]), extra) {
			continue
		}
		from, to := valueAfter(s, i+1)
		if from == to {
			continue
		}
		b.WriteString(s[done:from])
		b.WriteString(redacted)
		done, i = to, to-1
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// nameBefore is the name at the end of s, without its quotes.
func nameBefore(s string) string {
	s = strings.TrimRight(s, " \t\r\n")
	s = strings.TrimRight(s, `"'\`)
	at := len(s)
	for at > 0 && isNameByte(s[at-1]) {
		at--
	}
	return s[at:]
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-.%", c) >= 0
}

// valueAfter is where the value that follows at begins and ends, without its quotes.
func valueAfter(s string, at int) (from, to int) {
	for at < len(s) && strings.IndexByte(" \t\r\n", s[at]) >= 0 {
		at++
	}
	from = at
	for from < len(s) && s[from] == '\\' {
		from++
	}
	if from == len(s) || s[from] != '"' && s[from] != '\'' {
		return at, endOf(s, at, "\r\n,;&}])\x1e\x00")
	}
	quote, depth := s[from], from-at
	from++
	slashes := 0
	for to = from; to < len(s); to++ {
		switch {
		case s[to] == '\\':
			slashes++
			continue
		case s[to] == quote && slashes == depth:
			return from, to - depth
		}
		slashes = 0
	}
	return from, len(s)
}
