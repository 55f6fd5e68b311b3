"""Python's http.client and bare sockets through the gateway.

Run by http_clients_test.go with BASE (http://host:port or https://...) and CA_FILE in the environment; ends with an
exception where an answer is not what it must be.
"""

import hashlib
import http.client
import json
import os
import socket
import ssl
import urllib.parse

base = urllib.parse.urlsplit(os.environ["BASE"])
tls = ssl.create_default_context(cafile=os.environ["CA_FILE"]) if base.scheme == "https" else None
if tls:
    tls.set_alpn_protocols(["http/1.1"])
api = "/web/api/v1"


def expect(got, want):
    if got != want:
        raise AssertionError(f"got {got!r:.300}, want {want!r:.300}")


def connect():
    if tls:
        return http.client.HTTPSConnection(base.hostname, base.port, timeout=60, context=tls)
    return http.client.HTTPConnection(base.hostname, base.port, timeout=60)


def dial():
    conn = socket.create_connection((base.hostname, base.port), timeout=60)
    return tls.wrap_socket(conn, server_hostname=base.hostname) if tls else conn


def talk(conn):
    """Many exchanges on one connection."""
    conn.connect()
    first = conn.sock
    for n in range(50):
        conn.request("GET", f"{api}/bytes/{n * 997}")
        expect(len(conn.getresponse().read()), n * 997)
        body = os.urandom(n * 1009)
        conn.request("POST", api + "/echo", body=body)
        expect(json.loads(conn.getresponse().read())["sha256"], hashlib.sha256(body).hexdigest())
        conn.request("HEAD", api + "/bytes/5")
        answer = conn.getresponse()
        expect((answer.status, answer.headers["Content-Length"], answer.read()), (200, "5", b""))
    pieces = [os.urandom(n) for n in (1, 0x10, 0xFFF, 0x1000, 0x1001, 70000)]
    conn.request("PUT", api + "/echo", body=iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    told = json.loads(conn.getresponse().read())
    expect((told["sha256"], told["length"]), (hashlib.sha256(b"".join(pieces)).hexdigest(), sum(map(len, pieces))))
    if conn.sock is not first:
        raise AssertionError("the gateway has closed the connection meanwhile")


def pipelined(conn):
    """Requests that do not wait for answers are answered in their order."""
    sizes = [0, 1, 100000, 17, 65536, 3]
    with conn:
        conn.sendall(b"".join(f"GET {api}/bytes/{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in sizes))
        stream = conn.makefile("rb")
        for n in sizes:
            answer = http.client.HTTPResponse(Whole(stream))
            answer.begin()
            expect((answer.status, len(answer.read())), (200, n))


class Whole:
    """A stream that http.client takes for a socket, and does not close between two answers."""

    def __init__(self, stream):
        self.stream = stream
        self.read, self.readline, self.readinto, self.flush = stream.read, stream.readline, stream.readinto, stream.flush

    def makefile(self, _mode):
        return self

    def close(self):
        pass


def old(conn, keep):
    """HTTP/1.0: the end of the connection is the end of the answer, unless both want to keep it."""
    with conn:
        more = b"Connection: keep-alive\r\n" if keep else b""
        conn.sendall(b"GET " + api.encode() + b"/chunks HTTP/1.0\r\nHost: x\r\n" + more + b"\r\n")
        answer = b""
        while part := conn.recv(65536):
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        expect(body, b"one two three ")
        expect(b"transfer-encoding" in head.lower(), False)


talk(connect())
pipelined(dial())
old(dial(), False)
old(dial(), True)
