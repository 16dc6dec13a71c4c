/**
 * Simulates a server on a network: its output arrives after a delay, and it serves one connection at a time.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { DiskServer } from './diskServers.js';

/** Round-trip time in a local network with a few switches. */
const DELAY_MS = 2;

/** Forwards data between the client and the server until both have closed. */
async function relay(client: Socket, server: Socket): Promise<void> {
  for (const [from, to, delay] of [
    [client, server, 0],
    [server, client, DELAY_MS],
  ] as const) {
    from.on('data', (bytes) => setTimeout(() => void to.write(bytes), delay));
    from.on('end', () => setTimeout(() => to.end(), delay));
    from.on('error', () => to.destroy());
    from.on('close', () => setTimeout(() => to.destroy(), delay));
  }
  await Promise.all([client, server].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
}

/** The same server at another address, with the delay. It has to close each connection after one response. */
export async function atDistance(near: DiskServer): Promise<DiskServer> {
  const [host = '', port = ''] = near.address.split(':');
  const sockets = new Set<Socket>();
  let before: Promise<unknown> = Promise.resolve();
  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    sockets.add(client);
    client.on('close', () => sockets.delete(client));
    client.on('error', () => undefined);
    before = before.then(async () => {
      if (client.destroyed) return;
      const server = connect({ host, port: Number(port), allowHalfOpen: true });
      sockets.add(server);
      server.on('close', () => sockets.delete(server));
      const over = relay(client, server);
      client.resume();
      await over;
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    ...near,
    address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    stop: async () => {
      listener.close();
      for (const socket of sockets) socket.destroy();
      await near.stop();
    },
  };
}
