/** Users of connections to Unix sockets: many are asked about together, and none is answered with that of another. */
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { expect, it } from '@jest/globals';
import { PeerCredentials } from '../../../src/server/peerCredentials.js';

/** A connection with a descriptor, whose user is the same number. */
function connection(fd: number): Socket {
  return Object.assign(new Duplex({ read: () => undefined }), { _handle: { fd } }) as never;
}
const settled = (promises: readonly Promise<number>[]): Promise<(number | string)[]> =>
  Promise.all(promises.map((promise) => promise.catch((error: unknown) => (error as Error).message)));

it('asks about all that wait with few processes', async () => {
  let processes = 0;
  const credentials = new PeerCredentials(async (fds) => {
    processes += 1;
    return fds.map(String);
  });
  const fds = Array.from({ length: 1000 }, (_, index) => index + 3);
  expect(await settled(fds.map((fd) => credentials.userOf(connection(fd))))).toEqual(fds);
  expect(processes).toBeLessThan(20);
});

it('fails for those that have no user, and for no others', async () => {
  const [lost, closed] = [7, 40];
  const credentials = new PeerCredentials(async (fds) => {
    // As starting a process with a closed descriptor does.
    if (fds.includes(closed)) throw new Error('EBADF');
    return fds.map((fd) => (fd === lost ? 'no socket' : String(fd)));
  });
  const fds = Array.from({ length: 64 }, (_, index) => index + 3);
  const found = await settled(fds.map((fd) => credentials.userOf(connection(fd))));
  expect(found).toEqual(fds.map((fd) => (fd === lost ? 'SO_PEERCRED: no socket' : fd === closed ? 'EBADF' : fd)));
});

it('gives no user to a connection that has ended meanwhile, since its descriptor may be that of another', async () => {
  const gone = connection(5);
  const credentials = new PeerCredentials(async (fds) => {
    gone.destroy();
    return fds.map(String);
  });
  expect(await settled([credentials.userOf(gone), credentials.userOf(connection(6))])).toEqual([
    'the client has disconnected',
    6,
  ]);
});
