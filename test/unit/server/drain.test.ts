/** A server that takes no new sessions, and one that ends: what clients and load balancers see of it. */
import { once } from 'node:events';
import { connect as connectHttp2, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { setTimeout } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { EventServiceService } from '../../../gen/proto/guestfs/v1/event.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import type { Allowable } from '../../../src/security/policy.js';
import { sameForAll } from '../../../src/security/access.js';
import { ReplicaSet, type Replica } from '../../fakes/replicas.js';
import { distantRelay } from '../../support/distantRelay.js';
import { openCall } from '../../support/openCall.js';
import { eventually } from '../../support/eventually.js';
import { failureOf, SessionClient, TestClient } from '../../support/testClient.js';

jest.setTimeout(60_000);

const EMPTY = Buffer.alloc(5);
const WATCH = '/grpc.health.v1.Health/Watch';
const CHECK = '/grpc.health.v1.Health/Check';
const REFLECT = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const SUBSCRIBE = EventServiceService.subscribe.path;
const SESSION_SERVICE = 'guestfs.v1.SessionService';
const [SERVING, NOT_SERVING] = [1, 2];

let set: ReplicaSet;
let connections: ClientHttp2Session[];
let clients: TestClient[];
beforeEach(() => {
  set = new ReplicaSet();
  connections = [];
  clients = [];
});
afterEach(async () => {
  for (const one of clients) one.close();
  for (const one of connections) one.destroy();
  await set.stop();
});

function start(...allowed: readonly Allowable[]): Promise<Replica> {
  const access = sameForAll({ imageRoots: { directories: [] }, allowed: new Set(allowed) });
  return set.start({ id: 'one', alone: true, more: { access } });
}

interface Connection {
  readonly session: ClientHttp2Session;
  /** The codes of all GOAWAY frames. */
  readonly goaways: number[];
}

function connect({ address }: Replica): Connection {
  const session = connectHttp2(`http://${address}`);
  const goaways: number[] = [];
  session.on('error', () => undefined);
  session.on('goaway', (code: number) => goaways.push(code));
  connections.push(session);
  return { session, goaways };
}

/** The health of a service, as the number that the protocol has for it. */
async function health(replica: Replica, service: string): Promise<number | undefined> {
  const { session } = connect(replica);
  const name = Buffer.from(service);
  const message = Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const call = openCall(session, CHECK);
  call.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
  const parts: Buffer[] = [];
  call.on('data', (part: Buffer) => parts.push(part));
  await once(call, 'end');
  session.close();
  return Buffer.concat(parts).at(-1);
}

/** Opens a stream, and waits for the beginning of its answer. */
async function stream({ session }: Connection, path: string, id?: string): Promise<ClientHttp2Stream> {
  const call = openCall(session, path, id === undefined ? {} : { 'guestfs-session': id });
  call.resume();
  call.write(EMPTY);
  if (path !== REFLECT) call.end();
  if (path !== REFLECT) await once(call, 'response');
  // As clients of gRPC do, also if the trailers are all that comes.
  call.once('end', () => call.end());
  return call;
}

describe('Drain', () => {
  const drain = ({ client }: Replica, resume: boolean) => client.call(SessionServiceService.drain, { resume });

  it('refuses new sessions, serves those that there are, and tells load balancers; until it is undone', async () => {
    const replica = await start('drain');
    const { client } = replica;
    const { id } = await client.createSession();
    expect(await drain(replica, false)).toEqual({ sessions: 1 });
    expect(await failureOf(client.createSession())).toMatchObject({
      code: status.UNAVAILABLE,
      info: { reason: 'SHUTTING_DOWN', retryAfterMs: expect.any(Number) },
    });
    expect(await health(replica, SESSION_SERVICE)).toBe(NOT_SERVING);
    expect(await health(replica, '')).toBe(SERVING);
    expect(await client.call(SessionServiceService.getServerInfo, {})).toMatchObject({
      draining: true,
      free_places: 0,
    });
    await new SessionClient(client, id).call('set_memsize', { memsize: 777 });
    // Again: nothing changes.
    expect(await drain(replica, false)).toEqual({ sessions: 1 });
    await client.deleteSession(id);
    expect(await drain(replica, true)).toEqual({ sessions: 0 });
    expect(await health(replica, SESSION_SERVICE)).toBe(SERVING);
    expect(await client.call(SessionServiceService.getServerInfo, {})).toMatchObject({ draining: false });
    await client.createSession();
  });

  it('needs a permission', async () => {
    const replica = await start();
    expect(await failureOf(drain(replica, false))).toMatchObject({
      code: status.PERMISSION_DENIED,
      info: { reason: 'NOT_ALLOWED', metadata: expect.objectContaining({ setting: '--allow drain' }) },
    });
    await replica.client.createSession();
  });

  it('cannot be undone once the server ends', async () => {
    const replica = await start('drain');
    await drain(replica, false);
    const ended = replica.registry.drain();
    expect((await failureOf(drain(replica, true))).info?.reason).toBe('SHUTTING_DOWN');
    await ended;
  });
});

describe('a server that announces its end', () => {
  it('asks its clients to connect anew, with NO_ERROR, and serves on, on both connections', async () => {
    const replica = await start();
    const { id } = await replica.client.createSession();
    const old = connect(replica);
    const subscription = await stream(old, SUBSCRIBE, id);
    replica.server.announceEnd();
    await eventually(() => old.goaways.length > 0);
    await eventually(() => old.session.closed);
    expect(subscription.closed).toBe(false);
    const other = new TestClient(replica.address);
    clients.push(other);
    await new SessionClient(other, id).call('set_memsize', { memsize: 777 });
    await other.createSession();
    await setTimeout(200);
    expect(subscription.closed).toBe(false);
    expect(new Set(old.goaways)).toEqual(new Set([constants.NGHTTP2_NO_ERROR]));
    expect(await health(replica, '')).toBe(NOT_SERVING);
  });

  it('ends no call of a client that calls without pause', async () => {
    const replica = await start();
    const { id } = await replica.client.createSession();
    const busy = new SessionClient(replica.client, id);
    let calls = 0;
    let over = false;
    const working = (async () => {
      while (!over) {
        await busy.call('set_memsize', { memsize: 700 + (calls % 100) });
        calls += 1;
      }
    })();
    await eventually(() => calls > 20);
    replica.server.announceEnd();
    const before = calls;
    await eventually(() => calls > before + 50);
    over = true;
    await working;
  });
});

describe('a connection of a server that begins to end', () => {
  it('says at once which calls it has accepted, and answers them', async () => {
    const replica = await start();
    const { id } = await replica.client.createSession();
    const relay = await distantRelay(replica.address, 700);
    const distant = connectHttp2(`http://${relay.address}`);
    connections.push(distant);
    distant.on('error', () => undefined);
    const accepted = openCall(distant, SUBSCRIBE, { 'guestfs-session': id });
    accepted.end(EMPTY);
    await once(accepted, 'response');
    const told = once(distant, 'goaway');
    replica.server.announceEnd();
    await setTimeout(500);
    const late = openCall(distant, CHECK);
    late.on('error', () => undefined);
    late.end(EMPTY);
    expect((await told).slice(0, 2)).toEqual([constants.NGHTTP2_NO_ERROR, accepted.id]);
    if (!late.closed) await new Promise((resolve) => late.once('close', resolve));
    // By which a client of gRPC knows that it may send it again.
    expect(late.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
    expect(accepted.closed).toBe(false);
    accepted.close();
    await relay.close();
  });

  it('loses no call of a distant client', async () => {
    const replica = await start();
    const relay = await distantRelay(replica.address, 300);
    const client = new TestClient(relay.address);
    clients.push(client);
    await client.call(SessionServiceService.getServerInfo, {});
    const calls: Promise<unknown>[] = [];
    for (let count = 0; count < 100; count += 1) {
      if (count === 50) replica.server.announceEnd();
      calls.push(client.call(SessionServiceService.getServerInfo, {}));
      await setTimeout(10);
    }
    await Promise.all(calls);
    await relay.close();
  });
});

describe('a server that ends', () => {
  it('waits for no stream without an end of its own: health, reflection, subscriptions', async () => {
    const replica = await start();
    const { id } = await replica.client.createSession();
    const connection = connect(replica);
    const streams = [
      await stream(connection, WATCH),
      await stream(connection, REFLECT),
      await stream(connection, SUBSCRIBE, id),
    ];
    const ends = streams.map((one) => once(one, 'close'));
    const started = performance.now();
    await replica.stop(true);
    expect(performance.now() - started).toBeLessThan(2000);
    await Promise.all(ends);
    expect(streams.map(({ rstCode }) => rstCode)).toEqual([0, 0, 0]);
    await eventually(() => connection.session.destroyed);
    expect(new Set(connection.goaways)).toEqual(new Set([constants.NGHTTP2_NO_ERROR]));
  });
});
