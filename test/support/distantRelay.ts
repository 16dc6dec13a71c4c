/** Simulates a server that is far away: everything takes time on its way, in both directions. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface DistantRelay {
  readonly address: string;
  /** The largest number of bytes that were on their way to the server at a time. */
  readonly most: number;
  close(): Promise<void>;
}

/**
 * @param address of the server, host:port
 * @param delayMs in each direction
 */
export async function distantRelay(address: string, delayMs: number): Promise<DistantRelay> {
  const [host = '', port = ''] = address.split(':');
  const sockets = new Set<Socket>();
  let travelling = 0;
  let most = 0;
  const forward = (from: Socket, to: Socket, count: (bytes: number) => void): void => {
    from.on('data', (bytes) => {
      count(bytes.length);
      setTimeout(() => {
        count(-bytes.length);
        to.write(bytes);
      }, delayMs);
    });
    from.on('error', () => undefined);
    from.on('close', () => setTimeout(() => to.destroy(), delayMs));
  };
  const listener = createServer((client) => {
    const server = connect(Number(port), host);
    for (const socket of [client, server]) sockets.add(socket);
    forward(client, server, (bytes) => {
      travelling += bytes;
      most = Math.max(most, travelling);
    });
    forward(server, client, () => undefined);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    get most() {
      return most;
    },
    close: async () => {
      listener.close();
      for (const socket of sockets) socket.destroy();
      await once(listener, 'close');
    },
  };
}
