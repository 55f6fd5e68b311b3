package interop

import (
	"fmt"
	"strings"
)

// get is a GET of ~ with more in its head, behind Host.
func get(more string) string { return "GET ~ HTTP/1.1\r\n" + gwHost + more + "\r\n" }

// attacksOnHeads are request lines and fields: RFC 9112, sections 3 and 5.
func attacksOnHeads() []attack {
	seesGet := []string{"GET ~"}
	list := []attack{
		{"a harmless one", get(""), "200", seesGet},
		{"two, one behind the other", get("") + get("X: y\r\n"), "200 200", []string{"GET ~", "GET ~"}},
		{"an empty line before", "\r\n" + get(""), "200|400", seesGet},
		{"a bare LF before", "\n" + get(""), "400", nil},
		{"a space before", " " + get(""), "400", nil},
		{"an own method", "BREW ~ HTTP/1.1\r\n" + gwHost + "\r\n", "200|400|501", []string{"BREW ~"}},
		{"a method in lower case stays", "get ~ HTTP/1.1\r\n" + gwHost + "\r\n", "200|400|501", []string{"get ~"}},
		{"CONNECT, and a request behind it", "CONNECT gw.test:443 HTTP/1.1\r\n" + gwHost + "\r\n" + smuggled, "400|405|501", nil},
		{"CONNECT with a body", "CONNECT gw.test:443 HTTP/1.1\r\n" + gwHost + "Content-Length: 5\r\n\r\nhello" + smuggled, "400|405|501", nil},
		{"TRACE", "TRACE ~ HTTP/1.1\r\n" + gwHost + "\r\n", "405|501", nil},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" + gwHost + "\r\n", "200|204|400|404|405", nil},
		{"GET *", "GET * HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},
		{"a path without its slash", "GET raw/api/v1/x HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},
		{"an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled, "400|505|cut", nil},

		{"absolute form", "GET http://gw.test~ HTTP/1.1\r\n" + gwHost + "\r\n", "200", seesGet},
		{"absolute form, another Host", "GET http://other.test~ HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},
		{"absolute form, another port", "GET http://gw.test:81~ HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},
		{"absolute form without Host", "GET http://gw.test~ HTTP/1.1\r\n\r\n", "400", nil},
		{"absolute form with a user", "GET http://me@~ HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},
		{"absolute form, two Hosts", "GET http://gw.test~ HTTP/1.1\r\n" + gwHost + gwHost + "\r\n", "400", nil},
		{"absolute form, another scheme", "GET ftp://gw.test~ HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},
		{"absolute form without authority", "GET http:~ HTTP/1.1\r\n" + gwHost + "\r\n", "400", nil},

		{"no Host", "GET ~ HTTP/1.1\r\n\r\n", "400", nil},
		{"the same Host twice", get(gwHost), "400", nil},
		{"two Hosts", get("Host: other.test\r\n"), "400", nil},
		{"two Hosts of another case", get("hOST: other.test\r\n"), "400", nil},
		{"a Host in a list", "GET ~ HTTP/1.1\r\nHost: gw.test, other.test\r\n\r\n", "400", nil},
		{"a Host with a path", "GET ~ HTTP/1.1\r\nHost: gw.test/x\r\n\r\n", "400", nil},
		{"a Host with a user", "GET ~ HTTP/1.1\r\nHost: me@gw.test\r\n\r\n", "400", nil},
		{"a Host with a space", "GET ~ HTTP/1.1\r\nHost: gw.test other.test\r\n\r\n", "400", nil},
		{"a Host with a bad port", "GET ~ HTTP/1.1\r\nHost: gw.test:x\r\n\r\n", "400", nil},
		{"a Host with two ports", "GET ~ HTTP/1.1\r\nHost: gw.test:80:81\r\n\r\n", "400", nil},
		{"HTTP/1.0 without Host", "GET ~ HTTP/1.0\r\n\r\n", "200|400", seesGet},

		{"a request of HTTP/0.9", "GET ~\r\n\r\n" + smuggled, "400|505|cut", nil},
		{"HTTP/0.9 in its version", "GET ~ HTTP/0.9\r\n" + gwHost + "\r\n", "400|505", nil},
		{"HTTP/1.2", "GET ~ HTTP/1.2\r\n" + gwHost + "\r\n", "200|400|505", seesGet},
	}
	for name, line := range map[string]string{
		"HTTP/2.0": "GET ~ HTTP/2.0", "HTTP/3.0": "GET ~ HTTP/3.0", "HTTP/1": "GET ~ HTTP/1", "HTTP/1.": "GET ~ HTTP/1.", "HTTP/1.10": "GET ~ HTTP/1.10",
		"HTTP/01.1": "GET ~ HTTP/01.1", "HTTP/1.1x": "GET ~ HTTP/1.1x", "http/1.1": "GET ~ http/1.1", "HTTP /1.1": "GET ~ HTTP /1.1", "HTTPS/1.1": "GET ~ HTTPS/1.1",
		"a space behind the version": "GET ~ HTTP/1.1 ", "a tab behind the version": "GET ~ HTTP/1.1\t", "two spaces": "GET  ~ HTTP/1.1",
		"two spaces behind the target": "GET ~  HTTP/1.1", "tabs": "GET\t~\tHTTP/1.1", "a space in the target": "GET ~/a b HTTP/1.1",
		"two versions": "GET ~ HTTP/1.1 HTTP/1.1", "a target of none": "GET HTTP/1.1", "a method of none": "~ HTTP/1.1", "a bracket in the method": "GE(T ~ HTTP/1.1",
		"NUL in the method": "GE\x00T ~ HTTP/1.1", "NUL in the target": "GET ~/\x00 HTTP/1.1", "ESC in the target": "GET ~/\x1b[1m HTTP/1.1", "a bare CR in the target": "GET ~/a\rb HTTP/1.1",
		"VT in the line": "GET\v~ HTTP/1.1", "a fragment": "GET ~#x HTTP/1.1", "DEL in the target": "GET ~/\x7f HTTP/1.1", "an encoded NUL": "GET ~/%00 HTTP/1.1",
		"a dot segment": "GET ~/../../x HTTP/1.1", "an encoded dot segment": "GET ~/%2e%2e/x HTTP/1.1", "a backslash": `GET ~/..\x HTTP/1.1`, "a half escape": "GET ~/%2 HTTP/1.1",
	} {
		list = append(list, attack{"request line: " + name, line + "\r\n" + gwHost + "\r\n" + smuggled, "400|505|501", nil})
	}
	for name, field := range map[string]string{
		"a space before the colon": "X-A : b\r\n", "a tab before the colon": "X-A\t: b\r\n", "no name": ": b\r\n", "no colon": "X-A b\r\n", "a space in the name": "X A: b\r\n",
		"NUL in the name": "X-\x00A: b\r\n", "a bracket in the name": "X(A): b\r\n", "a non-ASCII name": "X-\xc3\xa4: b\r\n", "CR in the name": "X-\rA: b\r\n", "DEL in the name": "X-\x7f: b\r\n",
		"NUL in the value": "X-A: b\x00c\r\n", "a bare CR in the value": "X-A: b\rc\r\n", "CR CR LF": "X-A: b\r\r\n", "ESC in the value": "X-A: \x1b[2J\r\n", "DEL in the value": "X-A: \x7f\r\n",
		"obs-fold with a space": "X-A: b\r\n c\r\n", "obs-fold with a tab": "X-A: b\r\n\tc\r\n", "obs-fold of nothing": "X-A: b\r\n \r\n", "a bare LF behind": "X-A: b\n", "a bare LF hides a field": "X-A: b\nTransfer-Encoding: chunked\r\n",
		"a colon before": ":X-A: b\r\n", "a CR alone": "\rX-A: b\r\n", "VT behind the name": "X-A\v: b\r\n",
	} {
		list = append(list, attack{"field: " + name, get(field) + smuggled, "400", nil})
	}
	return append(list,
		attack{"a space before the first field", "GET ~ HTTP/1.1\r\n Host: gw.test\r\n\r\n" + smuggled, "400", nil},
		attack{"a space before the first of two fields", "GET ~ HTTP/1.1\r\n X: y\r\n" + gwHost + "\r\n" + smuggled, "400", nil},
		attack{"all lines end with LF", "GET ~ HTTP/1.1\nHost: gw.test\n\n" + smuggled, "400", nil},
		attack{"the request line ends with LF", "GET ~ HTTP/1.1\nHost: gw.test\r\n\r\n" + smuggled, "400", nil},
		attack{"the head ends with LF", "GET ~ HTTP/1.1\r\n" + gwHost + "\n" + smuggled, "400", nil},
		attack{"CR alone ends the lines", "GET ~ HTTP/1.1\rHost: gw.test\r\r" + smuggled, "400", nil},
		attack{"a value of bytes above ASCII", get("X-A: \xff\xfe\r\n"), "200|400", seesGet},
		attack{"an empty value", get("X-A:\r\n"), "200", seesGet},
		attack{"many fields", get(manyFields(20_000)), "400|431|cut", nil},
		attack{"a long field", get("X-A: " + strings.Repeat("a", 1<<20) + "\r\n"), "431|cut", nil},
		attack{"a long target", "GET ~/" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\n" + gwHost + "\r\n", "414|431|cut", nil},
		attack{"a long method", strings.Repeat("A", 1<<20) + " ~ HTTP/1.1\r\n" + gwHost + "\r\n", "400|414|431|501|cut", nil},
		attack{"a long version", "GET ~ HTTP/1.1" + strings.Repeat("1", 1<<20) + "\r\n" + gwHost + "\r\n", "400|414|431|505|cut", nil},
		attack{"no line at all", strings.Repeat("A", 1<<20), "400|414|431|501|cut", nil},
	)
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: y\r\n", i)
	}
	return b.String()
}
