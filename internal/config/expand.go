package config

import (
	"errors"
	"fmt"
	"strings"
)

// expand replaces `${NAME}` and `${NAME:-otherwise}` in a scalar. Only `${` begins one; `$${`
// stands for `${` itself. What a variable holds is not expanded again.
func expand(text string, getenv func(string) (string, bool)) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(literal + "${")
			text = after
			continue
		}
		b.WriteString(before)
		inside, rest, closed := strings.Cut(after, "}")
		if !closed {
			return "", errors.New("${ without }")
		}
		value, err := variable(inside, getenv)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		text = rest
	}
}

// variable answers for what stands between the braces.
func variable(inside string, getenv func(string) (string, bool)) (string, error) {
	name, otherwise, hasDefault := strings.Cut(inside, ":-")
	if !isName(name) {
		return "", fmt.Errorf("${%s}: want the name of an environment variable between the braces", inside)
	}
	value, ok := getenv(name)
	switch {
	case hasDefault && value == "":
		return otherwise, nil
	case !ok:
		return "", fmt.Errorf("environment variable %s is not set", name)
	}
	return value, nil
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
