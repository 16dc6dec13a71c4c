/** Replicas of a service, without identities: where sessions are found, and what is said when they are not. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import {
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
} from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { SessionServiceClient, SessionServiceService } from '../../../../gen/proto/guestfs/v1/session.js';
import { forwardedHeader, FORWARDED_HEADER, isForItself } from '../../../../src/server/replicas/forwarded.js';
import type { Replicas } from '../../../../src/server/replicas/replicas.js';
import { SessionKeys } from '../../../../src/server/replicas/sessionKeys.js';
import { silentLogger, type LogFields, type Logger } from '../../../../src/common/logger.js';
import { ReplicaSet, type Replica } from '../../../fakes/replicas.js';
import { DEFAULT_LIMITS } from '../../../../src/server/limits.js';
import { cuttableProxy } from '../../../support/cuttableProxy.js';
import { eventually } from '../../../support/eventually.js';
import { failureOf, scratchDrive, SessionClient, type TestClient } from '../../../support/testClient.js';

jest.setTimeout(60_000);

/** For tests that leave all replicas as they are. `closed` does not forward, `alone` does not even know the others. */
let shared: ReplicaSet;
let r1: Replica;
let r2: Replica;
let r3: Replica;
let closed: Replica;
let alone: Replica;
beforeAll(async () => {
  shared = new ReplicaSet();
  r1 = await shared.start({ id: 'r1', maxSessions: 50 });
  r2 = await shared.start({ id: 'r2' });
  r3 = await shared.start({ id: 'r3' });
  closed = await shared.start({ id: 'closed', forward: false });
  alone = await shared.start({ id: 'alone', alone: true, forward: false });
});
afterAll(() => shared.stop());

/** For a single test. */
let set: ReplicaSet;
beforeEach(() => {
  set = new ReplicaSet();
});
afterEach(() => set.stop());

const memsize = (replica: Replica, id: string): Promise<unknown> =>
  new SessionClient(replica.client, id).call('get_memsize');
const failure = (replica: Replica, id: string) => new SessionClient(replica.client, id).failure('get_memsize');

describe('a session', () => {
  it('is found by every replica that forwards, by its ID, and by none by its name', async () => {
    const { id, endpoint } = await r1.client.createSession({ session_id: 'mine' });
    expect(id).toMatch(/^mine\.r1\./);
    expect(endpoint).toBe(r1.address);
    await new SessionClient(r2.client, id).call('set_memsize', { memsize: 777 });
    for (const replica of [r1, r2, r3]) {
      expect(await memsize(replica, id)).toBe(777);
      expect((await replica.client.getSession(id)).id).toBe(id);
    }
    expect(await memsize(r1, 'mine')).toBe(777);
    expect(await failure(r2, 'mine')).toMatchObject({
      info: { reason: 'SESSION_UNKNOWN' },
      details: expect.stringContaining('replica r2 has no session mine, but another one can have it'),
    });
    await r3.client.deleteSession(id);
    expect(await failure(r2, id)).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'SESSION_UNKNOWN' } });
  });

  it('is elsewhere for a replica that does not forward, which says where', async () => {
    const { id } = await r1.client.createSession();
    const error = await failure(closed, id);
    expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'SESSION_ELSEWHERE' } });
    expect(error.info?.metadata).toMatchObject({ replica: 'r1', endpoint: r1.address });
    const calls = [closed.client.getSession(id), closed.client.getLog(id), closed.client.deleteSession(id)];
    for (const { info } of await Promise.all(calls.map((call) => failureOf(call))))
      expect(info?.reason).toBe('SESSION_ELSEWHERE');
  });

  it('is elsewhere for a replica that does not know the others', async () => {
    const { id } = await r1.client.createSession();
    const error = await failure(alone, id);
    expect(error.info?.reason).toBe('SESSION_ELSEWHERE');
    expect(error.info?.metadata['replica']).toBe('r1');
    expect(error.info?.metadata['endpoint']).toBeUndefined();
  });

  it('can have the same name on two replicas, and is never mistaken', async () => {
    const one = await r1.client.createSession({ session_id: 'same' });
    const two = await r2.client.createSession({ session_id: 'same' });
    await new SessionClient(r2.client, one.id).call('set_memsize', { memsize: 701 });
    await new SessionClient(r1.client, two.id).call('set_memsize', { memsize: 702 });
    expect([await memsize(r1, 'same'), await memsize(r2, 'same')]).toEqual([701, 702]);
  });

  it('cannot be created under the ID of another one', async () => {
    const { id } = await r1.client.createSession();
    expect((await failureOf(r1.client.createSession({ session_id: id }))).info?.reason).toBe('MALFORMED_SESSION_ID');
  });
});

describe('the header guestfs-session', () => {
  /** Calls with metadata, and returns the answer with the response's metadata. */
  async function call<Request, Response>(
    replica: Replica,
    method: (
      client: SessionServiceClient,
    ) => (
      request: Request,
      metadata: Metadata,
      done: (error: unknown, answer: Response) => void,
    ) => { once(event: 'metadata', listener: (metadata: Metadata) => void): unknown },
    request: Request,
    session?: string,
  ): Promise<{ readonly answer: Response; readonly header: unknown }> {
    const client = new SessionServiceClient(replica.address, credentials.createInsecure());
    const metadata = new Metadata();
    if (session !== undefined) metadata.set('guestfs-session', session);
    try {
      let header: unknown;
      const answer = await new Promise<Response>((resolve, reject) => {
        method(client)
          .call(client, request, metadata, (error, value) => (error === null ? resolve(value) : reject(error as Error)))
          .once('metadata', (received) => (header = received.get('guestfs-session')[0]));
      });
      return { answer, header };
    } finally {
      client.close();
    }
  }
  const create = {
    ...{ session_id: undefined, drives: [], settings: undefined, launch: false, idle_timeout: undefined },
    labels: new Map<string, string>(),
  };

  it('is in the response of CreateSession, and stands in for every ID in a request', async () => {
    const { answer, header } = await call(r1, (client) => client.createSession as never, create, 'chosen');
    const { id } = answer as { readonly id: string };
    expect(header).toBe(id);
    expect(id).toMatch(/^chosen\.r1\./);
    for (const replica of [r1, r2]) {
      const got = await call(replica, (client) => client.getSession as never, { id: '' }, id);
      expect(got.answer).toMatchObject({ session: { id } });
      await call(replica, (client) => client.getLog as never, { id: '' }, id);
      // What the request says takes precedence.
      await call(replica, (client) => client.getLog as never, { id }, 'another');
    }
    await call(r2, (client) => client.deleteSession as never, { id: '', force: false }, id);
    expect((await failure(r1, id)).info?.reason).toBe('SESSION_UNKNOWN');
  });
});

describe('an owner that has ended', () => {
  it('refuses connections: its sessions are lost', async () => {
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    const { id } = await r1.client.createSession();
    expect(await memsize(r2, id)).toEqual(expect.any(Number));
    await r1.stop();
    const error = await failure(r2, id);
    expect(error).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'SESSION_LOST' } });
    expect(error.info?.metadata).toMatchObject({ replica: 'r1', cause: 'refused' });
  });

  it('has been started anew: its sessions are lost, also for itself', async () => {
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    const { id } = await r1.client.createSession();
    await r1.stop();
    const again = await set.start({ id: 'r1', listen: r1.address });
    for (const replica of [r2, again]) {
      const error = await failure(replica, id);
      expect(error).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'SESSION_LOST' } });
      expect(error.info?.metadata['cause']).toBe('restarted');
    }
  });

  it('is no longer among the others: its sessions are lost', async () => {
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    const { id } = await r1.client.createSession();
    set.list(r1.address, false);
    await r1.stop();
    const error = await failure(r2, id);
    expect(error.info?.reason).toBe('SESSION_LOST');
    expect(error.info?.metadata['cause']).toBe('gone');
  });
});

describe('while clients use sessions of a replica that has ended', () => {
  /** Counts the questions of other replicas that a replica has answered. */
  function counting(): { readonly logger: Logger; readonly asked: () => number } {
    let asked = 0;
    const debug = (_message: string, fields: LogFields = {}): void => {
      if (fields.action === 'GetServerInfo') asked += 1;
    };
    return { logger: { ...silentLogger, debug }, asked: () => asked };
  }

  it('the others are not asked again and again', async () => {
    const { logger, asked } = counting();
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    await set.start({ id: 'r3', logger });
    const ids = [(await r1.client.createSession()).id, (await r1.client.createSession()).id];
    const { id: living } = await r2.client.createSession();
    await r2.peers?.all();
    await r1.stop();
    const before = asked();
    for (let round = 0; round < 5; round++) {
      for (const id of ids) expect((await failure(r2, id)).info?.reason).toBe('SESSION_LOST');
      await setTimeout(300);
    }
    expect(asked() - before).toBe(0);
    expect(await memsize(r2, living)).toEqual(expect.any(Number));
  });

  it('nor for a list of all sessions', async () => {
    const { logger, asked } = counting();
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2', logger })];
    await r2.client.createSession();
    const list = async () =>
      r1.client.call(SessionServiceService.listSessions, { page_size: 0, page_token: '', all_replicas: true });
    expect(await list()).toMatchObject({ sessions: [{}], missing: [] });
    const before = asked();
    expect(await list()).toMatchObject({ sessions: [{}], missing: [] });
    expect(asked() - before).toBe(0);
    // One that has just been started is not left out.
    const r3 = await set.start({ id: 'r3' });
    await r3.client.createSession();
    expect(await list()).toMatchObject({ sessions: [{}, {}], missing: [] });
  });
});

describe('an owner that cannot be reached', () => {
  it('may be alive: the call can be repeated', async () => {
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    const { id } = await r1.client.createSession();
    await r1.stop();
    // Something accepts connections there, and says nothing.
    const [host = '', port = ''] = r1.address.split(':');
    const sockets: Socket[] = [];
    const silent = createServer((socket) => void sockets.push(socket)).listen(Number(port), host);
    await once(silent, 'listening');
    try {
      expect(await failure(r2, id)).toMatchObject({
        code: status.UNAVAILABLE,
        info: { reason: 'OWNER_UNREACHABLE' },
        details: expect.stringContaining('there is no answer from'),
      });
    } finally {
      // A connection to it is not closed from the other side before it is established.
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });

  it('has a name that does not resolve: nobody says that it has ended', async () => {
    const [r1, r2] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    const { id } = await r1.client.createSession();
    await r1.stop();
    set.list(r1.address, false);
    set.list('no-such-host.invalid:50051');
    expect(await failure(r2, id)).toMatchObject({ code: status.UNAVAILABLE, info: { reason: 'OWNER_UNREACHABLE' } });
  });

  it('is not where it was: another replica there refuses the call', async () => {
    const { id } = await r1.client.createSession();
    const keys = await SessionKeys.read(shared.keyFile);
    const metadata = new Metadata();
    metadata.set('guestfs-session', id);
    const to = r1.replicas.self;
    metadata.set(FORWARDED_HEADER, forwardedHeader(keys, { from: 'r3', to, client: '127.0.0.1' }));
    const client = new SessionServiceClient(r2.address, credentials.createInsecure());
    const end = await new Promise<StatusObject>((resolve) =>
      client.getSession({ id: '' }, metadata, () => undefined).once('status', resolve),
    );
    client.close();
    expect(end).toMatchObject({ code: status.UNAVAILABLE, details: expect.stringContaining('r2 is at its address') });
  });
});

describe('a call that was passed on', () => {
  it('is never passed on again: there is no loop', async () => {
    const { id } = await r1.client.createSession();
    const keys = await SessionKeys.read(shared.keyFile);
    const metadata = new Metadata();
    // Aimed at r2, for a session of r1.
    const to = r2.replicas.self;
    metadata.set(FORWARDED_HEADER, forwardedHeader(keys, { from: 'r1', to, client: '127.0.0.1' }));
    const client = new SessionServiceClient(r2.address, credentials.createInsecure());
    const end = await new Promise<StatusObject>((resolve) =>
      client.getSession({ id }, metadata, () => undefined).once('status', resolve),
    );
    client.close();
    expect(end).toMatchObject({ code: status.FAILED_PRECONDITION, details: expect.stringContaining('r1 has') });
  });

  it.each([
    ['nothing that was signed', Buffer.from('{"from":"r1","client":"somebody"}')],
    ['a wrong signature', Buffer.concat([Buffer.alloc(32), Buffer.from('{"from":"r1","client":"somebody"}')])],
    ['too little', Buffer.alloc(3)],
  ])('is one that a replica has signed: %s is refused', async (_what, value) => {
    const { id } = await r1.client.createSession();
    const metadata = new Metadata();
    metadata.set(FORWARDED_HEADER, value);
    const client = new SessionServiceClient(r1.address, credentials.createInsecure());
    const end = await new Promise<StatusObject>((resolve) =>
      client.getSession({ id }, metadata, () => undefined).once('status', resolve),
    );
    client.close();
    expect(end).toMatchObject({ code: status.UNAUTHENTICATED, details: expect.stringContaining('no replica') });
  });
});

describe('whoever is at the address of a replica', () => {
  it('has to prove that it has the session key', async () => {
    const r1 = await set.start({ id: 'r1' });
    const { id } = await r1.client.createSession();
    const other = new ReplicaSet();
    try {
      // Another service, whose key differs; it says that it is r1.
      writeFileSync(other.keyFile, 'another key of more than 32 characters');
      const impostor = await other.start({ id: 'r1' });
      const r2 = await set.start({ id: 'r2' });
      set.list(r1.address, false);
      set.list(impostor.address);
      await r1.stop();
      expect(await failure(r2, id)).toMatchObject({ info: { reason: 'OWNER_UNREACHABLE' } });
      const { silent } = (await r2.peers?.all()) ?? { silent: [] };
      expect(silent).toMatchObject([
        { address: impostor.address, why: expect.stringContaining('no replica with this') },
      ]);
    } finally {
      await other.stop();
    }
  });
});

describe('a replica that violates gRPC', () => {
  it.each([
    [0, 'no answer'],
    [2, 'more than one answer'],
  ])('with %p answers leaves the outcome unknown', async (count, what) => {
    const r1 = await set.start({ id: 'r1' });
    const { id } = await r1.client.createSession();
    const { server, address } = await liar(r1.replicas, count);
    set.list(r1.address, false);
    set.list(address);
    await r1.stop();
    const r2 = await set.start({ id: 'r2' });
    expect(await failureOf(r2.client.getSession(id))).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'OUTCOME_UNKNOWN' },
      details: expect.stringContaining(what),
    });
    server.forceShutdown();
  });

  /** It has the key, introduces itself properly, and answers GetSession with any number of messages. */
  async function liar(
    replicas: Replicas,
    count: number,
  ): Promise<{ readonly server: Server; readonly address: string }> {
    const { getServerInfo, getSession } = SessionServiceService;
    const server = new Server();
    const introduce = (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
      const forwarded = replicas.forwardedBy(call.metadata);
      if (isForItself(forwarded)) call.sendMetadata(replicas.introduce('nowhere:1', forwarded));
      callback(null, {});
    };
    const answer = (call: ServerWritableStream<unknown, unknown>): void => {
      for (let sent = 0; sent < count; sent++) call.write({ session: undefined, calls: [] });
      call.end();
    };
    server.addService(
      {
        getServerInfo: { ...getServerInfo, responseSerialize: () => Buffer.alloc(0) },
        getSession: { ...getSession, responseStream: true },
      },
      {
        getServerInfo: introduce,
        getSession: answer,
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return { server, address: `127.0.0.1:${port}` };
  }
});

describe('two replicas with one ID', () => {
  it('are reported, and their sessions are still told apart', async () => {
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => void errors.push(message) };
    const [one, two] = [await set.start({ id: 'r1' }), await set.start({ id: 'r1' })];
    const r2 = await set.start({ id: 'r2', logger });
    const [first, second] = [await one.client.createSession(), await two.client.createSession()];
    await new SessionClient(r2.client, first.id).call('set_memsize', { memsize: 701 });
    await new SessionClient(one.client, second.id).call('set_memsize', { memsize: 702 });
    expect(await memsize(one, first.id)).toBe(701);
    expect(await memsize(two, second.id)).toBe(702);
    expect(errors).toContain('several replicas have the same ID: give each its own with --replica-id');
  });
});

describe('ListSessions', () => {
  const list = (client: TestClient, all_replicas: boolean, page_size = 0, page_token = '') =>
    client.call(SessionServiceService.listSessions, { page_size, page_token, all_replicas });

  it('asks all replicas if it is told to, page by page, and says which did not answer', async () => {
    const started = await Promise.all(['r1', 'r2', 'r3'].map((id) => set.start({ id })));
    const ids: string[] = [];
    for (const replica of [...started, ...started]) ids.push((await replica.client.createSession()).id);
    const [r1, , r3] = started;
    if (!r1 || !r3) throw new Error('unreachable');
    expect((await list(r1.client, false)).sessions).toHaveLength(2);
    const whole = await list(r1.client, true);
    expect(whole.missing).toEqual([]);
    expect(whole.sessions.map(({ id }) => id).sort()).toEqual([...ids].sort());
    const first = await list(r1.client, true, 4);
    const second = await list(r1.client, true, 4, first.next_page_token);
    expect([first.sessions.length, second.sessions.length, second.next_page_token]).toEqual([4, 2, '']);
    await r3.stop();
    const partial = await list(r1.client, true);
    expect(partial.sessions).toHaveLength(4);
    expect(partial.missing).toMatchObject([{ address: r3.address, message: expect.stringContaining('ECONNREFUSED') }]);
  });
});

describe('a replica that introduces itself, and then', () => {
  /** It has the key, and answers ListSessions as it is told. */
  async function listing(
    replicas: Replicas,
    answer: (callback: sendUnaryData<unknown>) => void,
  ): Promise<{ readonly server: Server; readonly address: string }> {
    const { getServerInfo, listSessions } = SessionServiceService;
    const server = new Server();
    server.addService(
      { getServerInfo: { ...getServerInfo, responseSerialize: () => Buffer.alloc(0) }, listSessions },
      {
        getServerInfo: (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
          const forwarded = replicas.forwardedBy(call.metadata);
          if (isForItself(forwarded)) call.sendMetadata(replicas.introduce('nowhere:1', forwarded));
          callback(null, {});
        },
        listSessions: (_call: unknown, callback: sendUnaryData<unknown>) => answer(callback),
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return { server, address: `127.0.0.1:${port}` };
  }

  it.each<[string, (callback: sendUnaryData<unknown>) => void, RegExp]>([
    ['does not answer', () => undefined, /Deadline exceeded/],
    [
      'has a list without an end',
      (callback) => callback(null, { sessions: [], next_page_token: 'more', missing: [] }),
      /has no end/,
    ],
    ['answers with nonsense', (callback) => callback({ code: status.UNKNOWN, details: 'nonsense' }), /nonsense/],
  ])('%s is missing in the list of all sessions', async (_what, answer, message) => {
    const other = new ReplicaSet();
    const r2 = await set.start({ id: 'r2' });
    const { id } = await r2.client.createSession();
    const { server, address } = await listing(await other.member({ id: 'odd', alone: true }), answer);
    set.list(address);
    try {
      const request = { page_size: 0, page_token: '', all_replicas: true };
      const { sessions, missing } = await r2.client.call(SessionServiceService.listSessions, request);
      expect(sessions.map((one) => one.id)).toEqual([id]);
      expect(missing).toMatchObject([{ replica: 'odd', address, message: expect.stringMatching(message) }]);
    } finally {
      server.forceShutdown();
      await other.stop();
    }
  });
});

describe('connections of replicas', () => {
  it('come on top of those that clients may have', async () => {
    // Room for the next client is made before it comes.
    const limits = { ...DEFAULT_LIMITS, connections: 2 };
    const r1 = await set.start({ id: 'r1', more: { limits } });
    const others = await Promise.all(['r2', 'r3', 'r4'].map((id) => set.start({ id })));
    const links = async (): Promise<readonly boolean[]> =>
      Promise.all(
        others.map(async ({ peers }) => {
          const known = (await peers?.all())?.peers.find(({ replica }) => replica === 'r1');
          return known?.link.isConnected === true;
        }),
      );
    await r1.peers?.all();
    // The limit is looked at again twice a second.
    await eventually(async () => (await links()).every(Boolean));
    await setTimeout(700);
    await r1.client.call(SessionServiceService.getServerInfo, {});
    expect(await links()).toEqual([true, true, true]);
  });
});

describe('GetServerInfo', () => {
  it('describes the replica', async () => {
    await r1.client.createSession();
    const { size } = r1.registry;
    expect(await r1.client.call(SessionServiceService.getServerInfo, {})).toMatchObject({
      ...{
        replica: 'r1',
        endpoint: r1.address,
        protocol_version: 4,
        sessions: size,
        free_places: 50 - size,
        draining: false,
      },
      limits: { sessions: 50 },
    });
  });
});

describe('a connection that is cut', () => {
  it('leaves it unknown whether the call was carried out', async () => {
    const r1 = await set.start({ id: 'r1' });
    const relay = await cuttableProxy(r1.address);
    set.list(r1.address, false);
    set.list(relay.address);
    const r2 = await set.start({ id: 'r2' });
    const { id } = await r1.client.createSession({ drives: [scratchDrive(1 << 20)] });
    const launching = new SessionClient(r2.client, id).failure('launch');
    const request = await r1.launcher.request(0);
    relay.cut();
    expect(await launching).toMatchObject({ code: status.ABORTED, info: { reason: 'OUTCOME_UNKNOWN' } });
    request.fail(new Error('the test is over'));
    await relay.close();
  });
});
