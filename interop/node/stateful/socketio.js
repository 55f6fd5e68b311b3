// Socket.IO: the library's own server and client. Its session is known to one instance alone.
import { Server } from 'socket.io';
import { io } from 'socket.io-client';

export function serve(server, name) {
  new Server(server, { path: '/ws/socket.io' }).on('connection', (socket) => {
    socket.on('count', (n, answer) => answer(`${name} ${n}`));
  });
}

// transport: websocket, or polling, which is then upgraded.
export function connect(say, base, transport) {
  const { origin, pathname } = new URL(base);
  const transports = transport === 'polling' ? ['polling', 'websocket'] : ['websocket'];
  const socket = io(origin, { path: `${pathname}/socket.io`, transports });
  let n = 0;
  socket.on('connect', () => {
    const { id } = socket;
    const count = () => socket.id === id && socket.emit('count', ++n, (answer) => {
      say(answer);
      setTimeout(count, 20);
    });
    count();
  });
  socket.io.on('open', () => socket.io.engine.once('upgrade', ({ name }) => say('upgraded to', name)));
  socket.on('disconnect', (reason, details) => say('closed', details?.context?.code, details?.context?.reason));
  socket.io.on('reconnect_attempt', (attempt) => say('attempt', attempt));
  socket.on('connect_error', (error) => say('not connected:', error.message));
}
