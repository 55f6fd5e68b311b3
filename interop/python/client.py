"""Python `websockets` against service.py, through the gateway.

Run by python_test.go with GATEWAY (host:port of the https listener) and CA_FILE in the
environment; ends with an exception where an answer is not what it must be.
"""

import asyncio
import json
import os
import ssl

import websockets


async def converse(path, tls):
    url = f"wss://{os.environ['GATEWAY']}{path}/echo?x=%20y"
    headers = {"X-Test": "value", "Authorization": "Basic dXNlcjpwYXNz"}
    async with websockets.connect(url, ssl=tls, additional_headers=headers, open_timeout=45, max_size=None) as socket:
        await socket.send("hello")
        expect(await socket.recv(), "olleh")

        data = os.urandom(1_000_000)
        await socket.send(data)
        expect(await socket.recv(), data)

        await socket.send(["frag", "men", "ted"])
        expect(await socket.recv(), "detnemgarf")

        await (await socket.ping("are you there"))

        await socket.send("headers")
        request = json.loads(await socket.recv())
        expect(request["path"], "/pythonservice/ws/echo?x=%20y")
        received = {name.lower(): value for name, value in request["headers"]}
        expect(received["x-test"], "value")
        expect(received["authorization"], "Basic dXNlcjpwYXNz")
        expect(received["x-forwarded-proto"], "https")
    expect(socket.close_code, 1000)
    expect(socket.close_reason, "")


def expect(got, want):
    if got != want:
        raise AssertionError(f"got {got!r:.200}, want {want!r:.200}")


async def main():
    tls = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    for path in ("/pythonservice/ws/v1", "/ws/v1/pythonservice"):
        async with asyncio.timeout(60):
            await converse(path, tls)
        print(f"ok {path}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
