// A Node.js HTTPS service as its authors would write one for a Java gateway: the Zowe enabler
// reads config/service-configuration.yml from the working directory, registers, sends
// heartbeats and deregisters on SIGTERM. It knows nothing of Fairlead.
import { createServer } from 'node:https';
import { WebSocketServer } from 'ws';
import { connectToEureka, getTlsOptions, unregisterFromEureka } from '@zowe/apiml-onboarding-enabler-nodejs';

const port = Number(process.env.PORT);

const server = createServer(getTlsOptions(), (req, res) => {
  const { pathname } = new URL(req.url, 'https://localhost');
  switch (pathname) {
    case '/nodeservice/api/v1/hello':
      res.setHeader('content-type', 'application/json');
      res.end(JSON.stringify({
        hello: 'node',
        url: req.url,
        host: req.headers.host,
        forwardedHost: req.headers['x-forwarded-host'],
      }));
      break;
    case '/nodeservice/ui/':
    case '/nodeservice/ui/index.html':
      res.setHeader('content-type', 'text/html; charset=utf-8');
      res.end('<!doctype html><title>Node service</title><p>hello from node</p>');
      break;
    default:
      res.statusCode = 404;
      res.end('no such page\n');
  }
});

// The service takes its second choice of the client's subprotocols, if there is one, so that
// a gateway that answers on its own is found out.
const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (protocols) => [...protocols][1] ?? [...protocols][0],
});

sockets.on('connection', (socket, req) => {
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? '' : data.toString();
    if (text === 'headers') {
      socket.send(JSON.stringify({ url: req.url, headers: req.headers }));
    } else if (text.startsWith('close ')) {
      const [, code, ...reason] = text.split(' ');
      socket.close(Number(code), reason.join(' '));
    } else {
      socket.send(data, { binary: isBinary });
    }
  });
  socket.on('ping', (data) => socket.send(`ping ${data}`));
  socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
});

server.on('upgrade', (req, socket, head) => {
  if (!req.url.startsWith('/nodeservice/ws/')) {
    socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(req, socket, head, (ws) => sockets.emit('connection', ws, req));
});

server.listen(port, '127.0.0.1', () => {
  console.log(`listening on ${port}`);
  connectToEureka();
});

// The enabler does not tell when the registry has answered, and it leaves the socket of its
// registration open, so the process would not end by itself.
process.on('SIGTERM', () => {
  unregisterFromEureka();
  for (const socket of sockets.clients) socket.close(1001, 'going away');
  server.close();
  setTimeout(() => process.exit(0), 1000);
});
