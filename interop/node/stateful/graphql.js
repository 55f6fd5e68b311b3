// GraphQL over WebSocket, the subprotocol graphql-transport-ws: the server and client of graphql-ws.
import { setTimeout as sleep } from 'node:timers/promises';
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { createClient } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import WebSocket, { WebSocketServer } from 'ws';

export function serve(server, name) {
  async function* subscribe() {
    for (let n = 1; ; n++) {
      yield { count: `${name} ${n}` };
      await sleep(20);
    }
  }
  const object = (typeName, count) => new GraphQLObjectType({ name: typeName, fields: { count: { type: GraphQLString, ...count } } });
  const schema = new GraphQLSchema({ query: object('Query', {}), subscription: object('Subscription', { subscribe }) });
  useServer({ schema, connectionInitWaitTimeout: 60_000 }, new WebSocketServer({ server, path: '/ws/graphql' }));
}

export function connect(say, base) {
  const client = createClient({
    url: `${base.replace(/^http/, 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    on: { closed: ({ code, reason }) => say('closed', code, reason) },
  });
  client.subscribe({ query: 'subscription { count }' }, {
    next: ({ data }) => say(data.count),
    error: (error) => say('gave up:', error?.code ?? error),
    complete: () => say('complete'),
  });
}
