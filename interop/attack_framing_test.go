package interop

import (
	"strings"
)

// post is a POST to ~ with a head and what comes behind it.
func post(head, rest string) string { return "POST ~ HTTP/1.1\r\n" + gwHost + head + "\r\n" + rest }

// chunked is a POST to ~ with the bytes of a chunked body.
func chunked(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }

// attacksOnFraming are bodies: RFC 9112, sections 6 and 7.
func attacksOnFraming() []attack {
	const zero = "0\r\n\r\n"
	hello := []string{"POST ~ hello"}
	list := []attack{
		{"a body of a length", post("Content-Length: 5\r\n", "hello"), "200", hello},
		{"a chunked body", chunked("5\r\nhello\r\n" + zero), "200", hello},
		{"a body that looks like a request", post("Content-Length: 16\r\n", "GET / HTTP/1.1\r\n"), "200", []string{"POST ~ GET / HTTP/1.1"}},
		{"a GET with a body", "GET ~ HTTP/1.1\r\n" + gwHost + "Content-Length: 5\r\n\r\nhello" + get(""), "200 200|400", []string{"GET ~ hello", "GET ~"}},
		{"a HEAD with a body", "HEAD ~ HTTP/1.1\r\n" + gwHost + "Content-Length: 5\r\n\r\nhello" + get(""), "200 200|400", []string{"HEAD ~ hello", "GET ~"}},
		{"a DELETE with a chunked body", "DELETE ~ HTTP/1.1\r\n" + gwHost + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + zero + get(""), "200 200", []string{"DELETE ~ hello", "GET ~"}},
		{"CL.TE", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", zero+smuggled), "400", nil},
		{"TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", zero+smuggled), "400", nil},
		{"CL.TE with a length of 0", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", zero+smuggled), "400", nil},
		{"chunked in HTTP/1.0", "POST ~ HTTP/1.0\r\n" + gwHost + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + zero + smuggled, "400|501|505", nil},
		{"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "400|200", hello},
		{"the same length in a list", post("Content-Length: 5, 5\r\n", "hello"), "400|200", hello},
		{"two lengths", post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"+smuggled), "400", nil},
		{"two lengths in a list", post("Content-Length: 5, 0\r\n", "hello"+smuggled), "400", nil},
		{"a length with a leading zero", post("Content-Length: 05\r\n", "hello"), "400|200", hello},
		{"a length with spaces around it", post("Content-Length: \t 5 \r\n", "hello"), "200", hello},
		{"chunked in other case", post("transfer-encoding: CHUNKED\r\n", "5\r\nhello\r\n"+zero), "200", hello},
		{"chunked behind a tab", post("Transfer-Encoding:\tchunked\r\n", "5\r\nhello\r\n"+zero), "200|400", hello},
	}
	for _, length := range []string{
		"+5", "-5", "-0", "0x5", "5 5", "5;", "5.0", "1e1", "5_0", "٥", "\"5\"", "", ",", "5,", ",5", "18446744073709551621", "9223372036854775808", "99999999999999999999999999",
		"5\x0b", "5\x00", "five",
	} {
		list = append(list, attack{"length " + length, post("Content-Length: "+length+"\r\n", "hello"+smuggled), "400|413", nil})
	}
	for _, coding := range []string{
		"xchunked", "chunkedx", "identity", "gzip", "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "\"chunked\"", "chunked;q=1",
		"chunked ,", ",chunked", "\x0bchunked", "chunked\x00", "chunk\xc4\xb1ed", "", " ", "chunked, x", "cow",
	} {
		list = append(list, attack{"coding " + coding, post("Transfer-Encoding: "+coding+"\r\n", zero+smuggled), "400|501", nil})
		list = append(list, attack{"coding beside a length: " + coding, post("Content-Length: 5\r\nTransfer-Encoding: "+coding+"\r\n", zero+smuggled), "400|501", nil})
	}
	for name, head := range map[string]string{
		"chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "chunked and cow": "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
		"cow and chunked": "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n", "a space before the colon": "Transfer-Encoding : chunked\r\n",
		"a space before the name": " Transfer-Encoding: chunked\r\n", "folded": "Transfer-Encoding:\r\n chunked\r\n", "behind a bare LF": "X: y\nTransfer-Encoding: chunked\r\n",
		"behind a bare CR": "X: y\rTransfer-Encoding: chunked\r\n", "a NUL in the name": "Transfer-Encoding\x00: chunked\r\n", "a CR in the name": "Transfer-Encoding\r: chunked\r\n",
		"a length with a space before the colon": "Content-Length : 5\r\n", "a folded length": "Content-Length:\r\n 5\r\n", "a length behind a bare LF": "X: y\nContent-Length: 5\r\n",
	} {
		list = append(list, attack{"framing: " + name, post(head, zero+smuggled), "400|501", nil})
	}
	for name, body := range map[string]string{
		"a size of 17 digits": "10000000000000005\r\nhello\r\n", "a size of 16 digits": "FFFFFFFFFFFFFFFF\r\nhello\r\n", "a size above int64": "8000000000000000\r\nhello\r\n",
		"0x": "0x5\r\nhello\r\n", "+": "+5\r\nhello\r\n", "-": "-5\r\nhello\r\n", "_": "5_0\r\nhello\r\n", "no size": "\r\nhello\r\n", "a space before": " 5\r\nhello\r\n",
		"no digit": "g\r\nhello\r\n", "LF behind the size": "5\nhello\r\n", "CR behind the size": "5\rhello\r\n", "no CRLF behind the data": "5\r\nhello0\r\n\r\n",
		"LF behind the data": "5\r\nhello\n", "CR and a byte behind the data": "5\r\nhello\rX", "more data than its size": "3\r\nhello\r\n", "a bare LF in the extension": "5;a\nb\r\nhello\r\n",
		"a bare CR in the extension": "5;a\rb\r\nhello\r\n", "NUL in the extension": "5;a\x00b\r\nhello\r\n", "a decimal point": "5.\r\nhello\r\n", "a comma": "5,5\r\nhello\r\n",
		"the last without its CRLF": "5\r\nhello\r\n0\n\n", "LF behind the last": "5\r\nhello\r\n0\r\n\n", "a NUL": "5\x00\r\nhello\r\n",
		"a bare CR in a trailer": "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", "a bare LF behind a trailer": "5\r\nhello\r\n0\r\nX: a\n\r\n", "a folded trailer": "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
		"a trailer with a space before its colon": "5\r\nhello\r\n0\r\nX : a\r\n\r\n", "a trailer without colon": "5\r\nhello\r\n0\r\nX\r\n\r\n", "a trailer without name": "5\r\nhello\r\n0\r\n: a\r\n\r\n",
	} {
		// The head may be on its way when the body turns out wrong: then the service's request breaks off.
		list = append(list, attack{"chunk: " + name, chunked(body + zero + smuggled), "400|413|502 cut|cut|502", nil})
	}
	for name, body := range map[string]string{
		"an extension": "5;a=b\r\nhello\r\n" + zero, "a quoted extension": "5;a=\"b;c\"\r\nhello\r\n" + zero, "many zeros": "00005\r\nhello\r\n000\r\n\r\n", "upper case": "5\r\nhello\r\n" + zero,
		"one byte each": "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + zero, "an extension of the last": "5\r\nhello\r\n0;a=b\r\n\r\n", "a trailer": "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"a space behind the size": "5 \r\nhello\r\n" + zero,
	} {
		list = append(list, attack{"chunk: " + name, chunked(body) + get(""), "200 200|400", []string{"POST ~ hello", "GET ~"}})
	}
	for _, trailer := range []string{
		"Content-Length: 100", "Transfer-Encoding: chunked", "Host: other.test", "Authorization: Basic eDp5", "Content-Type: text/html", "Connection: close", "X-Forwarded-For: 1.2.3.4", "Fairlead-Session-Id: x",
	} {
		list = append(list, attack{"trailer " + trailer, chunked("5\r\nhello\r\n0\r\n"+trailer+"\r\n\r\n") + get(""), "200 200|400|502|cut", []string{"POST ~ hello", "GET ~"}})
	}
	return append(list,
		attack{"a flood of extensions", chunked(strings.Repeat("1;"+strings.Repeat("a", 4000)+"\r\nx\r\n", 500) + zero), "400|413|431|502|cut", nil},
		attack{"a long extension", chunked("5;" + strings.Repeat("a", 1<<20) + "\r\nhello\r\n" + zero), "400|413|431|502|cut", nil},
		attack{"a long size", chunked(strings.Repeat("0", 1<<20) + "5\r\nhello\r\n" + zero), "400|413|431|502|cut", nil},
		attack{"a flood of trailers", chunked("5\r\nhello\r\n0\r\n" + manyFields(20_000) + "\r\n"), "400|413|431|502|cut", nil},
		attack{"a long trailer", chunked("5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"), "400|413|431|502|cut", nil},
	)
}
