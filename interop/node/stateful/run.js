// A service whose clients keep state, or such a client: run.js KIND service NAME, or run.js KIND client BASE [TRANSPORT], where BASE is
// what the gateway calls the service. A client counts for ever, and prints what it sees: "NAME N", each answer with the instance that
// gave it; "closed CODE REASON", by which it lost its connection. That it comes back is its own doing.
import { createServer } from 'node:http';

const [kind, role, ...args] = process.argv.slice(2);
const { serve, connect } = await import(`./${kind}.js`);
const say = (...words) => console.log(words.join(' '));

if (role === 'service') {
  const server = createServer();
  serve(server, ...args);
  server.listen(0, '127.0.0.1', () => say('listening on', server.address().port));
} else {
  connect(say, ...args);
}
