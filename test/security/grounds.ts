/** The servers on which escapes are tried. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { makeAuthority, makeClientCertificate, type Certificate } from '../support/certificates.js';
import { launchSession } from '../support/scene.js';
import { scratchDrive, SessionClient, TestClient } from '../support/testClient.js';
import { CLEAN_END, startTestServer, type TestServer } from '../support/testServer.js';
import type { Visitor } from './doors.js';
import { Place } from './place.js';

/** A kind of server, and of the client that tries. */
export interface Setting {
  readonly name: string;
  readonly flags: readonly string[];
  /** Whether the client has an identity and its own directory; it must then not touch that of another identity. */
  readonly identities: boolean;
  /** Reasons for refusing an image that refers to files outside. */
  readonly references: readonly string[];
}

const LED_OUTSIDE = ['OUTSIDE_IMAGE_ROOTS', 'IMAGE_UNUSABLE', 'IMAGE_MISSING'];

export const SETTINGS: readonly Setting[] = [
  {
    name: 'a server with default flags',
    flags: [],
    identities: false,
    references: ['NOT_ALLOWED', 'IMAGE_UNUSABLE'],
  },
  {
    name: 'a server with all permissions that give access to files',
    flags: ['backing-files', 'remote-drives', 'host-actions'].flatMap((what) => ['--allow', what]),
    identities: false,
    references: LED_OUTSIDE,
  },
  {
    name: 'a server whose clients have identities',
    flags: ['--allow', 'backing-files'],
    identities: true,
    references: LED_OUTSIDE,
  },
];

export interface Ground {
  readonly server: TestServer;
  readonly visitor: Visitor;
  readonly place: Place;
}

function clientWithIdentity(server: TestServer, directory: string, authority: Certificate, name: string): TestClient {
  const own = makeClientCertificate(directory, authority, { subject: `/CN=${name}` });
  const [ca, key, certificate] = [authority.certificate, own.key, own.certificate].map((path) => readFileSync(path));
  return new TestClient(server.address, credentials.createSsl(ca, key, certificate));
}

/** Starts a server with two sessions for the tests of the current `describe`; checks at the end what was touched. */
export function groundForTests({ flags, identities }: Setting): () => Ground {
  let ground: Ground | undefined;
  let directory: string;
  const clients: TestClient[] = [];

  /** The client, its own directory, and one that it must not touch. */
  async function directories(server: TestServer, authority: Certificate): Promise<[TestClient, string, string]> {
    if (!identities) {
      const outside = join(directory, 'outside');
      mkdirSync(outside);
      clients.push(new TestClient(server.address));
      return [clients[0] as TestClient, server.images, outside];
    }
    const [alice, bob] = ['alice', 'bob'].map((name) => clientWithIdentity(server, directory, authority, name)) as [
      TestClient,
      TestClient,
    ];
    clients.push(alice, bob);
    // A client's first call creates its directory.
    for (const client of clients) await client.deleteSession((await client.createSession()).id);
    return [alice, join(server.images, 'cn%3Aalice'), join(server.images, 'cn%3Abob')];
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-beside-'));
    const authority = makeAuthority(directory);
    const tls = ['--tls-cert', authority.certificate, '--tls-key', authority.key, '--client-ca', authority.certificate];
    const server = await startTestServer({ flags: [...flags, ...(identities ? tls : [])] });
    const [client, root, outside] = await directories(server, authority);
    const place = new Place(root, outside);
    const ready = await launchSession(client, [scratchDrive(1 << 20)]);
    const config = new SessionClient(client, (await client.createSession()).id);
    ground = { server, place, visitor: { client, ready, config } };
  });
  afterAll(async () => {
    if (ground === undefined) return;
    const { server, visitor, place } = ground;
    expect(place.touched()).toBe('');
    expect(place.changed()).toBe(false);
    for (const { id } of [visitor.ready, visitor.config]) await visitor.client.deleteSession(id);
    for (const client of clients) client.close();
    expect(await server.stop()).toEqual(CLEAN_END);
    rmSync(directory, { recursive: true });
  });
  return () => {
    if (ground === undefined) throw new Error('the server was not started');
    return ground;
  };
}
