// Node's http, https and fetch through the gateway. Run by http_clients_test.go with BASE and, as NODE_EXTRA_CA_CERTS, the
// authority in the environment; ends with an error where an answer is not what it must be.
'use strict';
const assert = require('node:assert');
const { createHash, randomBytes } = require('node:crypto');

const base = process.env.BASE + '/web/api/v1';
const http = base.startsWith('https') ? require('node:https') : require('node:http');
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const sum = (data) => createHash('sha256').update(data).digest('hex');

// exchange makes a request, lets send fill it, and gives the answer with its body and trailers.
function exchange(options, path, send = (req) => req.end()) {
  return new Promise((resolve, reject) => {
    const req = http.request(base + path, { agent, timeout: 60000, ...options }, (res) => {
      const parts = [];
      res.on('data', (part) => parts.push(part));
      res.on('aborted', () => reject(new Error(`${path}: cut`)));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, trailers: res.trailers, body: Buffer.concat(parts), sent: req.sentBody }));
    });
    req.on('error', reject);
    send(req);
  });
}

async function main() {
  const data = randomBytes(1 << 20);

  const trailed = await exchange({ method: 'POST', headers: { Trailer: 'X-Client-Sum', TE: 'trailers' } }, '/echo', (req) => {
    req.write(data.subarray(0, 1000));
    req.write(data.subarray(1000));
    req.addTrailers({ 'X-Client-Sum': sum(data) });
    req.end();
  });
  const told = JSON.parse(trailed.body);
  assert.strictEqual(told.sha256, sum(data));
  assert.strictEqual(told.trailers['X-Client-Sum'][0], sum(data));
  assert.strictEqual(trailed.trailers['x-sum'], sum(data));

  const expects = { method: 'POST', headers: { Expect: '100-continue', 'Content-Length': data.length } };
  const continued = await exchange(expects, '/echo', (req) => {
    req.on('continue', () => { req.sentBody = true; req.end(data); });
    req.flushHeaders();
  });
  assert.strictEqual(continued.sent, true);
  assert.strictEqual(JSON.parse(continued.body).sha256, sum(data));

  const refused = await exchange({ ...expects, agent: false }, '/refuse', (req) => {
    req.on('continue', () => { req.sentBody = true; req.end(data); });
    req.flushHeaders();
  });
  assert.deepStrictEqual([refused.status, refused.sent], [413, undefined]);

  const many = await Promise.all(Array.from({ length: 100 }, (_, n) => exchange({}, `/bytes/${n * 3001}`)));
  many.forEach((got, n) => assert.strictEqual(got.body.length, n * 3001));
  assert.strictEqual((await exchange({}, '/chunks')).body.toString(), 'one two three ');
  agent.destroy();

  const response = await fetch(base + '/echo', { method: 'POST', body: new Blob([data]).stream(), duplex: 'half' });
  assert.strictEqual((await response.json()).sha256, sum(data));
  const events = await fetch(base + '/events');
  const reader = events.body.getReader();
  for (let n = 0; n < 3; n++) { // each is sent when the one before has come
    assert.match(Buffer.from((await reader.read()).value).toString(), new RegExp(`data: ${n}`));
    assert.strictEqual((await fetch(base + '/release', { method: 'POST' })).status, 204);
  }
  assert.strictEqual((await reader.read()).done, true);
}

main().catch((err) => { console.error(err); process.exit(1); });
