/** A proxy between clients and a server whose connections can be reset or stalled during a call. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface CuttableProxy {
  /** Where clients connect to. */
  readonly address: string;
  /** Resets all connections, as when a client is killed. */
  cut(): void;
  /** Stops forwarding in both directions, as when a client is frozen. */
  stall(): void;
  close(): Promise<void>;
}

/** A proxy to a server at an address of the form host:port. */
export async function cuttableProxy(address: string): Promise<CuttableProxy> {
  const [host = '', port = ''] = address.split(/:(?=\d+$)/);
  const pairs = new Set<readonly [Socket, Socket]>();
  let stalled = false;
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (bytes: Buffer) => {
        if (!to.write(bytes) || stalled) from.pause();
      });
      to.on('drain', () => {
        if (!stalled) from.resume();
      });
    }
    for (const socket of pair) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        pairs.delete(pair);
        for (const one of pair) one.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const [client, upstream] of pairs) {
      upstream.resetAndDestroy();
      client.destroy();
    }
  };
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    stall: () => {
      stalled = true;
      for (const socket of [...pairs].flat()) socket.pause();
    },
    close: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
