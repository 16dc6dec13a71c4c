/** Two ends of a Unix socket, like those to qemu. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export async function socketPair(): Promise<readonly [Socket, Socket]> {
  const directory = await mkdtemp(join(tmpdir(), 'guestfs-grpc-test-'));
  try {
    const server = createServer();
    const path = join(directory, 'socket');
    server.listen(path);
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const one = connect(path);
    await once(one, 'connect');
    const [other] = await accepted;
    server.close();
    return [one, other];
  } finally {
    await rm(directory, { recursive: true });
  }
}
