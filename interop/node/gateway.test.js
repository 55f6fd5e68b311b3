// npm `ws` and Node's https client against service.js, through the gateway. Run by
// node_test.go with GATEWAY (host:port of the https listener) and CA_FILE in the environment.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import WebSocket from 'ws';

const gateway = process.env.GATEWAY;
const ca = readFileSync(process.env.CA_FILE);
const orders = ['/nodeservice/ws/v1', '/ws/v1/nodeservice'];
const limit = { timeout: 60_000 };

async function get(path) {
  const req = request(`https://${gateway}${path}`, { ca, timeout: 45_000 });
  req.end();
  const [res] = await once(req, 'response');
  const chunks = await res.toArray();
  return { status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks).toString() };
}

async function dial(t, path, protocols = [], options = {}) {
  const socket = new WebSocket(`wss://${gateway}${path}`, protocols, { ca, handshakeTimeout: 45_000, ...options });
  t.after(() => socket.terminate());
  await once(socket, 'open');
  return socket;
}

async function ask(socket, message) {
  const answer = once(socket, 'message');
  socket.send(message);
  const [data, isBinary] = await answer;
  return isBinary ? data : data.toString();
}

for (const path of orders) {
  test(`text, binary and large messages come back: ${path}`, limit, async (t) => {
    const socket = await dial(t, `${path}/echo`);
    assert.equal(await ask(socket, 'hällo'), 'hällo');
    for (const size of [0, 125, 126, 65_535, 65_536, 3_000_000]) {
      const data = randomBytes(size);
      assert.deepEqual(await ask(socket, data), data, `${size} bytes`);
    }
  });

  test(`path and query arrive byte for byte: ${path}`, limit, async (t) => {
    const socket = await dial(t, `${path}/a%2Fb/c;x=1?q=%20a+b&r`);
    const { url } = JSON.parse(await ask(socket, 'headers'));
    assert.equal(url, '/nodeservice/ws/a%2Fb/c;x=1?q=%20a+b&r');
  });
}

test('the service chooses the subprotocol', limit, async (t) => {
  const socket = await dial(t, '/nodeservice/ws/v1/echo', ['v1.fairlead', 'v2.fairlead']);
  assert.equal(socket.protocol, 'v2.fairlead');
});

test('permessage-deflate is agreed end to end, and can be left out', limit, async (t) => {
  const deflated = await dial(t, '/nodeservice/ws/v1/echo', [], { perMessageDeflate: { threshold: 0 } });
  assert.match(deflated.extensions, /permessage-deflate/);
  const text = 'again and '.repeat(20_000);
  assert.equal(await ask(deflated, text), text);

  const plain = await dial(t, '/nodeservice/ws/v1/echo', [], { perMessageDeflate: false });
  assert.equal(plain.extensions, '');
  assert.equal(await ask(plain, text), text);
});

test('fragments keep their order around a Ping', limit, async (t) => {
  const socket = await dial(t, '/nodeservice/ws/v1/echo');
  const messages = [];
  const done = new Promise((resolve) => {
    socket.on('message', (data) => messages.push(data.toString()) === 2 && resolve());
  });
  socket.send('one ', { fin: false });
  socket.ping('between');
  socket.send('two', { fin: true });
  await Promise.all([done, once(socket, 'pong')]);
  assert.deepEqual(messages.sort(), ['one two', 'ping between']);
});

test('request headers reach the service, hop-by-hop ones do not', limit, async (t) => {
  const socket = await dial(t, '/nodeservice/ws/v1/echo', [], {
    headers: { authorization: 'Basic dXNlcjpwYXNz', cookie: 'a=b', 'x-test': 'value', 'keep-alive': 'timeout=5' },
  });
  const { headers } = JSON.parse(await ask(socket, 'headers'));
  assert.equal(headers.authorization, 'Basic dXNlcjpwYXNz');
  assert.equal(headers.cookie, 'a=b');
  assert.equal(headers['x-test'], 'value');
  assert.equal(headers['keep-alive'], undefined);
  assert.equal(headers['x-forwarded-proto'], 'https');
  assert.equal(headers['x-forwarded-host'], gateway);
});

for (const [code, reason] of [[1000, ''], [1000, 'done'], [1001, 'restart'], [1011, 'broken'], [4321, 'mine']]) {
  test(`the service's Close ${code} "${reason}" arrives as it was sent`, limit, async (t) => {
    const socket = await dial(t, '/nodeservice/ws/v1/echo');
    const closed = once(socket, 'close');
    socket.send(`close ${code} ${reason}`);
    const [gotCode, gotReason] = await closed;
    assert.equal(gotCode, code);
    assert.equal(gotReason.toString(), reason);
  });
}

test('an unknown service closes with 1003 and the reason', limit, async (t) => {
  const socket = new WebSocket(`wss://${gateway}/ws/v1/nodeservice-unknown/echo`, { ca });
  t.after(() => socket.terminate());
  const [code, reason] = await once(socket, 'close');
  assert.equal(code, 1003);
  assert.equal(reason.toString(), 'Requested service nodeservice-unknown is not known by the gateway');
});

for (const path of ['/nodeservice/api/v1/hello?x=%20y', '/api/v1/nodeservice/hello?x=%20y']) {
  test(`the REST API answers: ${path}`, limit, async () => {
    const { status, body } = await get(path);
    assert.equal(status, 200, body);
    const answer = JSON.parse(body);
    assert.equal(answer.hello, 'node');
    assert.equal(answer.url, '/nodeservice/api/v1/hello?x=%20y');
    assert.equal(answer.forwardedHost, gateway);
  });
}

test('the page answers, and ui without a slash leads to it', limit, async () => {
  const page = await get('/nodeservice/ui/v1/');
  assert.equal(page.status, 200, page.body);
  assert.match(page.body, /hello from node/);
  const bare = await get('/nodeservice/ui/v1');
  assert.equal(bare.status, 302);
  assert.match(bare.headers.location, /\/nodeservice\/ui\/v1\/$/);
});
