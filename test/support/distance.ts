/** Puts a server at the distance of a network: what it says arrives a moment later. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { DiskServer } from './diskServers.js';

/** As in a local network with a few switches, there and back. */
const DELAY_MS = 2;

/** The same server at another address, with the distance between. */
export async function atDistance(near: DiskServer): Promise<DiskServer> {
  const [host = '', port = ''] = near.address.split(':');
  const sockets = new Set<Socket>();
  const relay = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({ host, port: Number(port), allowHalfOpen: true });
    for (const [from, to, delay] of [
      [client, server, 0],
      [server, client, DELAY_MS],
    ] as const) {
      sockets.add(from);
      from.on('data', (bytes) => setTimeout(() => void to.write(bytes), delay));
      from.on('end', () => setTimeout(() => to.end(), delay));
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    ...near,
    address: `127.0.0.1:${(relay.address() as AddressInfo).port}`,
    stop: async () => {
      relay.close();
      for (const socket of sockets) socket.destroy();
      await near.stop();
    },
  };
}
