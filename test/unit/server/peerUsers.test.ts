/** Clients on a Unix socket are identified by the users that the kernel reports. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createLogger } from '../../../src/common/logger.js';
import { ownDirectories } from '../../../src/security/ownDirectories.js';
import { createIdentify } from '../../../src/server/identify.js';
import { PeerUsers } from '../../../src/server/peerUsers.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import { describeWhen } from '../../support/appliance.js';
import { relayAs, type Relay } from '../../support/relayAs.js';
import { failureOf } from '../../support/testClient.js';

const [ALICE, BOB] = [54_321, 54_322];
const own = `uid:${process.geteuid?.() ?? 0}`;

let authority: Authority;
let server: SecureServer;
let directory: string;
const lines: string[] = [];
beforeAll(async () => {
  authority = startAuthority();
  directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-peers-'));
  chmodSync(directory, 0o755);
  mkdirSync(join(directory, 'images'));
  const logger = createLogger('debug', (line) => lines.push(line));
  const peerUsers = new PeerUsers(logger);
  server = await startSecureServer(authority, {
    socket: join(directory, 'server.sock'),
    peerUsers,
    identify: createIdentify({ kinds: [], peerUsers }),
    access: ownDirectories(
      { imageRoots: { directories: [join(directory, 'images')] }, allowed: new Set() },
      logger,
      new Set([own]),
    ),
    logger,
  });
});
afterAll(async () => {
  await server.stop();
  authority.end();
  rmSync(directory, { recursive: true });
});

it('a client has the identity of the user that it runs as', async () => {
  const { id } = await server.plainClient().createSession();
  expect(server.registry.list(own).map((session) => session.id)).toEqual([id]);
});

it('many clients can connect at once', async () => {
  const clients = Array.from({ length: 30 }, () => server.plainClient());
  const made = await Promise.all(clients.map((client) => client.createSession()));
  for (const { id } of made) await clients[0]?.deleteSession(id);
});

it('a client that disconnects before its user is known does no harm', async () => {
  for (let index = 0; index < 20; index += 1) {
    const socket = connect(join(directory, 'server.sock'));
    socket.on('error', () => undefined);
    socket.once('connect', () => socket.destroy());
  }
  const { id } = await server.plainClient().createSession();
  await server.plainClient().deleteSession(id);
  expect(lines.filter((line) => line.includes('its user cannot be determined'))).toEqual([]);
});

describeWhen('of other users', process.geteuid?.() === 0 ? undefined : 'it requires root', () => {
  let relays: Relay[];
  beforeAll(async () => {
    relays = await Promise.all([ALICE, BOB].map((user) => relayAs(user, join(directory, 'server.sock'))));
  });
  afterAll(async () => {
    await Promise.all(relays.map((relay) => relay.stop()));
  });

  it('neither sees the sessions of the other', async () => {
    const [alice, bob] = relays.map(({ address }) => server.plainClient(address));
    const { id } = await alice!.createSession({ session_id: 'build' });
    expect(server.registry.list(`uid:${ALICE}`).map((session) => session.id)).toEqual([id]);
    expect((await failureOf(bob!.getSession(id))).info?.reason).toBe('SESSION_UNKNOWN');
    await alice!.deleteSession(id);
  });
});
