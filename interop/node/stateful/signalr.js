// SignalR: Microsoft's client, and a hub that follows the public description of its protocols (negotiation version 1, WebSockets, the
// JSON hub protocol) as far as that client needs. A connection is known by its id to the instance that it negotiated with, and to no other.
import { randomUUID } from 'node:crypto';
import { HubConnectionBuilder, LogLevel } from '@microsoft/signalr';
import { WebSocketServer } from 'ws';

const separator = '\x1e';
const types = { invocation: 1, completion: 3, ping: 6 };

export function serve(server, name) {
  const negotiated = new Set(); // ids that no connection has taken yet
  const sockets = new WebSocketServer({ noServer: true });

  server.on('request', (req, res) => {
    const { pathname } = new URL(req.url, 'http://localhost');
    if (req.method !== 'POST' || pathname !== '/ws/hub/negotiate') {
      res.writeHead(404).end();
      return;
    }
    const id = randomUUID();
    negotiated.add(id);
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({
      negotiateVersion: 1,
      connectionId: randomUUID(),
      connectionToken: id,
      availableTransports: [{ transport: 'WebSockets', transferFormats: ['Text', 'Binary'] }],
    }));
  });

  server.on('upgrade', (req, socket, head) => {
    const { searchParams } = new URL(req.url, 'http://localhost');
    if (!negotiated.delete(searchParams.get('id'))) {
      console.log('an unknown id');
      socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(req, socket, head, (ws) => converse(ws, name));
  });
}

// converse is one connection: a handshake, then records that end in a separator.
function converse(ws, name) {
  const send = (record) => ws.send(JSON.stringify(record) + separator);
  const pings = setInterval(() => send({ type: types.ping }), 5000);
  ws.on('close', () => clearInterval(pings));
  let greeted = false;
  ws.on('message', (data) => {
    for (const text of data.toString().split(separator).slice(0, -1)) {
      const record = JSON.parse(text);
      if (!greeted) {
        greeted = true;
        send(record.protocol === 'json' && record.version === 1 ? {} : { error: 'unknown protocol' });
      } else if (record.type === types.invocation) {
        send({ type: types.completion, invocationId: record.invocationId, result: `${name} ${record.arguments[0]}` });
      }
    }
  });
}

export async function connect(say, base) {
  const hub = new HubConnectionBuilder().withUrl(`${base}/hub`).withAutomaticReconnect().configureLogging(LogLevel.None).build();
  let n = 0;
  const count = async () => {
    try {
      for (;;) say(await hub.invoke('Count', ++n));
    } catch {
      // the connection is lost: onreconnected goes on
    }
  };
  hub.onreconnecting((error) => say('closed', .../status code: (\d+) \((.*)\)/.exec(error?.message)?.slice(1) ?? [error]));
  hub.onreconnected(count);
  hub.onclose((error) => say('gave up:', error));
  await hub.start();
  await count();
}
