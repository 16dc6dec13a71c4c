/** CreateSession that is repeated, with the same request ID, at another replica than the first time. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Metadata, Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { SessionServiceService } from '../../../../gen/proto/guestfs/v1/session.js';
import { inOrder } from '../../../../src/server/replicas/firstAttempts.js';
import { FORWARDED_HEADER, forwardedHeader, isForItself } from '../../../../src/server/replicas/forwarded.js';
import { introduce } from '../../../../src/server/replicas/introduction.js';
import { newRun, type ReplicaRun } from '../../../../src/server/replicas/sessionIds.js';
import { SessionKeys } from '../../../../src/server/replicas/sessionKeys.js';
import { FakeMachine } from '../../../fakes/fakeLauncher.js';
import { ReplicaSet, type Replica } from '../../../fakes/replicas.js';
import { rawUnary } from '../../../support/rawCalls.js';
import { failureOf, scratchDrive } from '../../../support/testClient.js';

jest.setTimeout(60_000);

let set: ReplicaSet;
beforeEach(() => {
  set = new ReplicaSet();
});
afterEach(() => set.stop());

/** Replicas that know each other. */
async function mesh(...ids: readonly string[]): Promise<Replica[]> {
  const started: Replica[] = [];
  for (const id of ids) started.push(await set.start({ id }));
  await meet(started);
  return started;
}

async function meet(replicas: readonly Replica[]): Promise<void> {
  await Promise.all(replicas.map(async ({ peers }) => peers?.all()));
}

const sessions = (replicas: readonly Replica[]): number =>
  replicas.reduce((sum, { registry }) => sum + registry.size, 0);

/** A request ID whose attempts are noted in this order, as far as it is given. */
function idNotedBy(members: readonly ReplicaRun[], order: readonly ReplicaRun[]): string {
  for (let number = 0; number < 10_000; number++) {
    const id = `call-${number}`;
    const noted = inOrder(members, { identity: undefined, id }).slice(0, order.length);
    if (noted.every(({ run }, index) => run === order[index]?.run)) return id;
  }
  throw new Error('there is no such ID');
}

const self = ({ replicas }: Replica): ReplicaRun => replicas.self;

describe('CreateSession that is repeated at another replica', () => {
  it('is answered by the one that made the session, whichever replicas are asked', async () => {
    const replicas = await mesh('r1', 'r2', 'r3', 'r4');
    for (let number = 0; number < 20; number++) {
      const requestId = `call-${number}`;
      const order = replicas.map((_, index) => replicas[(index + number) % replicas.length] as Replica);
      const ids: string[] = [];
      for (const { client } of order) ids.push((await client.createSession({}, { requestId })).id);
      expect(new Set(ids).size).toBe(1);
      expect(ids[0]).toContain(`.${order[0]?.id}.`);
    }
    expect(sessions(replicas)).toBe(20);
  });

  it('at the same time waits for the one that makes it', async () => {
    const replicas = await mesh('r1', 'r2', 'r3');
    const calls = replicas.map(({ client }) =>
      client.createSession({ drives: [scratchDrive(1 << 20)], launch: true }, { requestId: 'launched' }),
    );
    const request = await Promise.race(replicas.map(({ launcher }) => launcher.request(0)));
    const machine = new FakeMachine('1.61.9');
    request.succeed(machine);
    await machine.daemon.launch();
    const ids = (await Promise.all(calls)).map(({ id }) => id);
    expect(new Set(ids).size).toBe(1);
    expect(sessions(replicas)).toBe(1);
  });

  it('is told where the session is, by replicas that do not pass calls on', async () => {
    const [first, second] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2', forward: false })];
    await meet([first, second]);
    await first.client.createSession({}, { requestId: 'once' });
    const { code, info } = await failureOf(second.client.createSession({}, { requestId: 'once' }));
    expect(code).toBe(status.FAILED_PRECONDITION);
    expect(info).toMatchObject({
      reason: 'SESSION_ELSEWHERE',
      metadata: { replica: 'r1', endpoint: first.address },
    });
    expect(second.registry.size).toBe(0);
  });

  it('with other arguments is refused', async () => {
    const [first, second] = (await mesh('r1', 'r2')) as [Replica, Replica];
    await first.client.createSession({ session_id: 'one' }, { requestId: 'once' });
    const error = await failureOf(second.client.createSession({ session_id: 'two' }, { requestId: 'once' }));
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, info: { reason: 'REQUEST_ID_REUSED' } });
    expect(second.registry.size).toBe(0);
  });

  it('after a refusal makes the session there', async () => {
    const full = await set.start({ id: 'full', maxSessions: 0 });
    const [first, second] = [await set.start({ id: 'r1' }), await set.start({ id: 'r2' })];
    await meet([full, first, second]);
    for (let number = 0; number < 10; number++) {
      const options = { requestId: `call-${number}` };
      const error = await failureOf(full.client.createSession({}, options));
      expect(error.info?.reason).toBe('TOO_MANY_SESSIONS');
      const { id } = await first.client.createSession({}, options);
      expect((await second.client.createSession({}, options)).id).toBe(id);
    }
    expect(sessions([first, second])).toBe(10);
  });

  it('is found after a replica was added, and after one was lost', async () => {
    const [first, second, third] = (await mesh('r1', 'r2', 'r3')) as [Replica, Replica, Replica];
    const made = new Map<string, string>();
    for (let number = 0; number < 10; number++) {
      const requestId = `call-${number}`;
      made.set(requestId, (await first.client.createSession({}, { requestId })).id);
    }
    const again = async ({ client }: Replica): Promise<void> => {
      for (const [requestId, id] of made) expect((await client.createSession({}, { requestId })).id).toBe(id);
    };
    const added = await set.start({ id: 'r4' });
    await meet([first, second, third, added]);
    await again(added);
    await third.stop();
    await meet([first, second, added]);
    await again(second);
  });
});

describe('a replica that made the session and has ended', () => {
  it('is replaced by the next one, which the others find then', async () => {
    const [first, second, third] = (await mesh('r1', 'r2', 'r3')) as [Replica, Replica, Replica];
    for (const requestId of ['one', 'two', 'three']) await first.client.createSession({}, { requestId });
    await first.stop();
    for (const requestId of ['one', 'two', 'three']) {
      const { id } = await second.client.createSession({}, { requestId });
      expect((await third.client.createSession({}, { requestId })).id).toBe(id);
    }
    expect([second.registry.size, third.registry.size]).toEqual([3, 0]);
  });
});

describe('a replica that cannot be asked', () => {
  /** A relay that can stop without closing anything, as a host that is gone. */
  async function relayTo(address: string): Promise<{ readonly address: string; stall(): void; close(): void }> {
    const [host, port] = address.split(':');
    const sockets = new Set<Socket>();
    let stalled = false;
    const server = createServer((near) => {
      const far = connect(Number(port), host);
      for (const socket of [near, far]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
        if (stalled) socket.pause();
      }
      near.on('data', (data) => void (stalled || far.write(data)));
      far.on('data', (data) => void (stalled || near.write(data)));
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      stall: () => {
        stalled = true;
      },
      close: () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    };
  }

  it('because it is silent, delays the call for a moment, and prevents nothing', async () => {
    const [first, silent, third] = [
      await set.start({ id: 'r1' }),
      await set.start({ id: 'r2' }),
      await set.start({ id: 'r3' }),
    ];
    const relay = await relayTo(silent.address);
    set.list(silent.address, false);
    set.list(relay.address);
    try {
      await meet([first, silent, third]);
      const requestId = idNotedBy([first, silent, third].map(self), [self(silent)]);
      relay.stall();
      const before = performance.now();
      const { id } = await first.client.createSession({}, { requestId });
      expect(performance.now() - before).toBeLessThan(8000);
      // The two that are left have noted it.
      expect((await third.client.createSession({}, { requestId })).id).toBe(id);
    } finally {
      relay.close();
    }
  });

  it('because nothing is there any more, prevents nothing', async () => {
    const [first, second, third] = (await mesh('r1', 'r2', 'r3')) as [Replica, Replica, Replica];
    const requestId = idNotedBy([first, second, third].map(self), [self(second)]);
    await second.stop();
    const { id } = await first.client.createSession({}, { requestId });
    expect((await third.client.createSession({}, { requestId })).id).toBe(id);
  });
});

describe('a replica with the session key that lies', () => {
  it('about where the first attempt was cannot prevent a session', async () => {
    const first = await set.start({ id: 'r1' });
    const keys = await SessionKeys.read(set.keyFile);
    const own = newRun('liar');
    const { getServerInfo } = SessionServiceService;
    const server = new Server();
    let asked = 0;
    const lie = (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
      const said = first.replicas.forwardedBy(call.metadata);
      if (!isForItself(said)) throw new Error('the liar was asked for nothing else');
      if (said.attempt !== undefined) asked += 1;
      const attempt = said.attempt && { first: newRun('nobody'), known: true };
      call.sendMetadata(introduce(keys, { ...own, endpoint: 'nowhere:1', ...(attempt && { attempt }) }, said));
      callback(null, {});
    };
    server.addService(
      { getServerInfo: { ...getServerInfo, responseSerialize: () => Buffer.alloc(0) } },
      { getServerInfo: lie },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    set.list(`127.0.0.1:${port}`);
    try {
      await meet([first]);
      const requestId = idNotedBy([self(first), own], [own]);
      expect((await first.client.createSession({}, { requestId })).id).toContain('.r1.');
      expect(asked).toBeGreaterThan(0);
    } finally {
      server.forceShutdown();
    }
  });
});

describe('a question about an attempt', () => {
  it('is answered only to who has signed it with the session key', async () => {
    const [first] = (await mesh('r1')) as [Replica];
    const keys = await SessionKeys.read(set.keyFile);
    const header = forwardedHeader(keys, { from: 'r2', nonce: 'x', attempt: { id: 'once', by: newRun('r2') } });
    const ask = (value: Buffer): Promise<Buffer> => {
      const metadata = new Metadata();
      metadata.set(FORWARDED_HEADER, value);
      return rawUnary(first.client, SessionServiceService.getServerInfo.path, Buffer.alloc(0), metadata);
    };
    await ask(header);
    const changed = Buffer.from(header.toString('latin1').replace('once', 'more'), 'latin1');
    expect((await failureOf(ask(changed))).code).toBe(status.UNAUTHENTICATED);
  });
});
