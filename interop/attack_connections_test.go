package interop

// attacksOnConnections are what belongs to one connection, upgrades, and what is sent behind them: RFC 9110, section 7.6.1
// and 7.8.
func attacksOnConnections() []attack {
	const (
		key  = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
		open = "Connection: Upgrade\r\nUpgrade: websocket\r\n" + key
	)
	seesGet := []string{"GET ~"}
	ws := func(head string) string { return "GET /ws/v1/none~ HTTP/1.1\r\n" + gwHost + head + "\r\n" }
	list := []attack{
		{"HTTP/1.0 closes", "GET ~ HTTP/1.0\r\n" + gwHost + "\r\n" + smuggled, "200", seesGet},
		{"close closes", get("Connection: close\r\n") + smuggled, "200", seesGet},
		{"close in a list closes", get("Connection: x, close\r\n") + smuggled, "200", seesGet},
		{"Connection names Content-Length", post("Content-Length: 5\r\nConnection: content-length\r\n", "hello"), "200|400", []string{"POST ~ hello"}},
		{"Connection names Transfer-Encoding", post("Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", "5\r\nhello\r\n0\r\n\r\n"), "200|400", []string{"POST ~ hello"}},
		{"Connection names Host", get("Connection: host\r\n"), "200|400", seesGet},
		{"an unknown expectation", post("Content-Length: 5\r\nExpect: x\r\n", "hello"), "417|400|200", []string{"POST ~ hello"}},
		{"100-continue without waiting", post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello") + get(""), "200 200", []string{"POST ~ hello", "GET ~"}},
		{"100-continue without a body", get("Expect: 100-continue\r\n"), "200|400", seesGet},
		{"no route, with a body like a request", "POST /no-such/api/v1/x HTTP/1.1\r\n" + gwHost + "Content-Length: 16\r\n\r\nGET / HTTP/1.1\r\n" + get(""), "404|404 200", seesGet},
		{"a bad path, with a body like a request", "POST ~/%2e%2e/x HTTP/1.1\r\n" + gwHost + "Content-Length: 16\r\n\r\nGET / HTTP/1.1\r\n" + get(""), "400", nil},

		{"h2c", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), "200", seesGet},
		{"h2c with its preface behind", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "200 400|200 505|200", seesGet},
		{"h2c and websocket", get("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n" + key), "400", nil},
		{"h2c on a second line", get("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n" + key), "400", nil},
		{"another upgrade", get("Connection: Upgrade\r\nUpgrade: foo/2\r\n"), "200", seesGet},
		{"an upgrade to TLS", get("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), "200", seesGet},
	}
	for name, head := range map[string]string{
		"version 777":            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 777\r\n",
		"no key":                 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
		"a bad key":              "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
		"two keys":               open + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"a body":                 open + "Content-Length: 5\r\n",
		"a chunked body":         open + "Transfer-Encoding: chunked\r\n",
		"a length of 0 and TE":   open + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
		"no Connection: Upgrade": "Connection: keep-alive\r\nUpgrade: websocket\r\n" + key,
	} {
		// Whatever the refusal is, what was sent behind it is not a request.
		list = append(list, attack{"a refused upgrade: " + name, get(head) + smuggled, "400|426", nil})
	}
	return append(list,
		attack{"an upgrade that the service refuses", get(open) + smuggled, "101", seesGet},
		attack{"an upgrade of a POST", "POST ~ HTTP/1.1\r\n" + gwHost + open + "\r\n" + smuggled, "400|405", nil},
		attack{"an upgrade in HTTP/1.0", "GET ~ HTTP/1.0\r\n" + gwHost + open + "\r\n" + smuggled, "400|426|200", seesGet},
		attack{"an upgrade to no service", ws(open) + smuggled, "400|404|101|403|426", nil},
	)
}
