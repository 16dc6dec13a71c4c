/** Calls that are made more than once with the same request ID: by their client, or by a proxy in between. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { zeroDevice } from '../../../../gen/calls/device.js';
import { exists } from '../../../../gen/calls/file.js';
import { upload } from '../../../../gen/calls/transfer.js';
import { CallState, SessionServiceService } from '../../../../gen/proto/guestfs/v1/session.js';
import type { FakeDaemon, ReceivedCall } from '../../../fakes/fakeDaemon.js';
import { FakeMachine } from '../../../fakes/fakeLauncher.js';
import { pattern } from '../../../fakes/files.js';
import { ReplicaSet, type Replica } from '../../../fakes/replicas.js';
import { word } from '../../../fakes/xdrBytes.js';
import { eventually } from '../../../support/eventually.js';
import { rawUnary } from '../../../support/rawCalls.js';
import { retryingProxy, type RetryingProxy } from '../../../support/retryingProxy.js';
import {
  argumentsOf,
  failureOf,
  imageDrive,
  scratchDrive,
  SessionClient,
  TestClient,
} from '../../../support/testClient.js';

jest.setTimeout(20_000);

const ZERO = { device: '/dev/sda' };

let set: ReplicaSet;
let server: Replica;
let launches = 0;
beforeAll(async () => {
  set = new ReplicaSet();
  server = await set.start({ id: 'one' });
});
afterAll(() => set.stop());

interface Ready {
  readonly id: string;
  readonly session: SessionClient;
  readonly daemon: FakeDaemon;
  readonly machine: FakeMachine;
}

async function ready(replica: Replica = server, number = launches++): Promise<Ready> {
  const { id } = await replica.client.createSession({ drives: [scratchDrive(1 << 20)] });
  const session = new SessionClient(replica.client, id);
  const machine = new FakeMachine('1.61.9');
  const up = session.call('launch');
  (await replica.launcher.request(number)).succeed(machine);
  await machine.daemon.launch();
  await up;
  return { id, session, daemon: machine.daemon, machine };
}

/** The next call, which must be of this procedure. */
async function sent(daemon: FakeDaemon, { procedure }: { readonly procedure: number }): Promise<ReceivedCall> {
  const call = await daemon.nextCall();
  expect(call.procedure).toBe(procedure);
  return call;
}

/** Requires that the daemon has nothing to do: the next call that it gets is this question. */
async function expectNoOther({ session, daemon }: Ready): Promise<void> {
  const answer = session.call('exists', { path: '/' });
  await daemon.reply(await sent(daemon, exists), word(1));
  expect(await answer).toBe(true);
}

describe('behind a proxy that repeats calls', () => {
  let proxy: RetryingProxy | undefined;
  let client: TestClient | undefined;
  const through = async (options: Parameters<typeof retryingProxy>[1]): Promise<TestClient> => {
    proxy = await retryingProxy(server.address, options);
    client = new TestClient(proxy.address);
    return client;
  };
  const attempts = (rpc: string): number | undefined => proxy?.attempts.get(`/guestfs.v1.${rpc}`);
  afterEach(async () => {
    client?.close();
    await proxy?.close();
  });

  it('a call that takes longer than an attempt is made once', async () => {
    const one = await ready();
    const session = new SessionClient(await through({ attemptMs: 300, attempts: 3 }), one.id);
    const answer = session.call('zero_device', ZERO);
    const call = await sent(one.daemon, zeroDevice);
    await delay(750);
    await one.daemon.reply(call);
    await answer;
    expect(attempts('DeviceService/ZeroDevice')).toBe(3);
    await expectNoOther(one);
  });

  it('a call whose answer is lost is made once', async () => {
    const one = await ready();
    const session = new SessionClient(await through({ attemptMs: 5000, attempts: 3, loses: (n) => n < 3 }), one.id);
    const answer = session.call('zero_device', ZERO);
    await one.daemon.reply(await sent(one.daemon, zeroDevice));
    await answer;
    expect(attempts('DeviceService/ZeroDevice')).toBe(3);
    await expectNoOther(one);
  });

  it('a failure is the same each time', async () => {
    const one = await ready();
    const session = new SessionClient(await through({ attemptMs: 5000, attempts: 3, loses: (n) => n < 3 }), one.id);
    const failure = session.failure('zero_device', ZERO);
    await one.daemon.fail(await sent(one.daemon, zeroDevice), 'EIO', 'no such luck');
    expect(await failure).toMatchObject({ reason: 'EIO', details: expect.stringContaining('no such luck') });
    expect(attempts('DeviceService/ZeroDevice')).toBe(3);
    await expectNoOther(one);
  });

  it('a file is taken once', async () => {
    const one = await ready();
    const session = new SessionClient(await through({ attemptMs: 5000, attempts: 3, loses: (n) => n < 3 }), one.id);
    const file = pattern(100_000);
    const done = session.upload('upload', { remotefilename: '/f' }, [file]);
    const call = await sent(one.daemon, upload);
    expect((await one.daemon.nextFile()).data.equals(file)).toBe(true);
    await one.daemon.reply(call);
    await done;
    expect(attempts('TransferService/Upload')).toBe(3);
    await expectNoOther(one);
  });

  it('one session is created, and deleted once', async () => {
    const proxied = await through({ attemptMs: 5000, attempts: 2, loses: (n) => n < 2 });
    const before = server.registry.size;
    const { id } = await proxied.createSession({});
    expect(attempts('SessionService/CreateSession')).toBe(2);
    expect(server.registry.size).toBe(before + 1);
    expect(await proxied.getSession(id).catch(() => proxied.getSession(id))).toMatchObject({ id });
    await proxied.deleteSession(id);
    expect(attempts('SessionService/DeleteSession')).toBe(2);
    expect(server.registry.size).toBe(before);
  });

  it('a session that takes longer to launch than an attempt is launched once', async () => {
    const proxied = await through({ attemptMs: 300, attempts: 3 });
    const created = proxied.createSession({ drives: [scratchDrive(1 << 20)], launch: true });
    const request = await server.launcher.request(launches++);
    await delay(700);
    expect(request.options.signal.aborted).toBe(false);
    const machine = new FakeMachine('1.61.9');
    request.succeed(machine);
    await machine.daemon.launch();
    expect((await created).daemon_version).toBe('1.61.9');
    expect(server.launcher.requests).toHaveLength(launches);
  });
});

describe('a repeated call', () => {
  let one: Ready;
  beforeAll(async () => {
    one = await ready();
  });
  let requestId: string;
  beforeEach(() => {
    requestId = randomUUID();
  });

  it('waits for the one that runs', async () => {
    const first = one.session.call('zero_device', ZERO, { requestId });
    const call = await sent(one.daemon, zeroDevice);
    const second = one.session.call('zero_device', ZERO, { requestId });
    await delay(50);
    await one.daemon.reply(call);
    await Promise.all([first, second]);
    await expectNoOther(one);
  });

  it('is made if the first one was given up before its turn', async () => {
    const before = one.session.call('zero_device', { device: '/dev/sdb' });
    const running = await sent(one.daemon, zeroDevice);
    const gone = new AbortController();
    const first = failureOf(one.session.call('zero_device', ZERO, { requestId, signal: gone.signal }));
    await eventually(async () => (await one.session.client.getSession(one.id)).pending_calls === 2);
    gone.abort();
    expect(await first).toMatchObject({ code: status.CANCELLED });
    await eventually(async () => (await one.session.client.getSession(one.id)).pending_calls === 1);
    await one.daemon.reply(running);
    await before;
    const second = one.session.call('zero_device', ZERO, { requestId });
    await one.daemon.reply(await sent(one.daemon, zeroDevice));
    await second;
    await expectNoOther(one);
  });

  it('is told that it is another call', async () => {
    const first = one.session.call('zero_device', ZERO, { requestId });
    const call = await sent(one.daemon, zeroDevice);
    const others = [
      one.session.failure('zero_device', { device: '/dev/sdb' }, { requestId }),
      one.session.failure('mkdir', { path: '/a' }, { requestId }),
      one.session.failure('exists', { path: '/a' }, { requestId }),
    ];
    for (const failure of await Promise.all(others))
      expect(failure).toMatchObject({
        code: status.INVALID_ARGUMENT,
        reason: 'REQUEST_ID_REUSED',
        fields: ['guestfs-request-id'],
      });
    await one.daemon.reply(call);
    await first;
    expect(await one.session.failure('mkdir', { path: '/a' }, { requestId })).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
    });
    await expectNoOther(one);
  });

  it('of another session is another call', async () => {
    const other = await ready();
    for (const { session, daemon } of [one, other]) {
      const answer = session.call('zero_device', ZERO, { requestId });
      await daemon.reply(await sent(daemon, zeroDevice));
      await answer;
    }
  });

  it('that changes nothing runs again', async () => {
    for (const path of ['/a', '/b']) {
      const answer = one.session.call('exists', { path }, { requestId });
      await one.daemon.reply(await sent(one.daemon, exists), word(1));
      expect(await answer).toBe(true);
    }
  });

  it('whose answer was too large is not made, and says so', async () => {
    const text = 'a'.repeat(100_000);
    const request = { arguments: ['ls'] };
    const first = one.session.call('command', request, { requestId });
    const call = await one.daemon.nextCall();
    await one.daemon.reply(call, Buffer.concat([word(text.length), Buffer.from(text)]));
    expect(await first).toBe(text);
    expect(await one.session.failure('command', request, { requestId })).toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'ANSWER_NOT_KEPT',
      metadata: { outcome: 'OK' },
    });
    await expectNoOther(one);
  });

  it('gets the answer whatever the state of the session is by then', async () => {
    const other = await ready();
    await other.session.failure('set_memsize', { memsize: 600 });
    const first = other.session.call('shutdown', {}, { requestId });
    await other.daemon.reply(await other.daemon.nextCall());
    await first;
    await other.session.call('shutdown', {}, { requestId });
    const down = other.session.call('set_memsize', { memsize: 600 }, { requestId: `${requestId}-m` });
    await down;
    const up = other.session.call('add_drive_scratch', { size: 1n << 20n }, { requestId: `${requestId}-d` });
    await up;
    const machine = new FakeMachine('1.61.9');
    const launched = other.session.call('launch', {}, { requestId: `${requestId}-l` });
    (await server.launcher.request(launches++)).succeed(machine);
    await machine.daemon.launch();
    await launched;
    // None of these is possible in READY.
    await other.session.call('set_memsize', { memsize: 600 }, { requestId: `${requestId}-m` });
    await other.session.call('launch', {}, { requestId: `${requestId}-l` });
    await other.session.call('add_drive_scratch', { size: 1n << 20n }, { requestId: `${requestId}-d` });
    expect((await server.client.getSession(other.id)).drives).toBe(1);
  });

  it.each(['', 'a'.repeat(65), 'ä', 'a b', 'a,b', '../a'])('with the request ID %j is refused', async (bad) => {
    const metadata = new Metadata();
    metadata.set('guestfs-session', one.id);
    // Metadata has ASCII only.
    metadata.set('guestfs-request-id', encodeURI(bad));
    const path = '/guestfs.v1.ApplianceService/Version';
    expect(await failureOf(rawUnary(one.session.client, path, Buffer.alloc(0), metadata))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      reason: 'BAD_ARGUMENT',
      fields: ['guestfs-request-id'],
    });
  });

  it('of an upload that was cut off takes the file anew', async () => {
    const { stream, done } = one.session.openUpload('upload', { requestId });
    stream.write(argumentsOf('upload', { remotefilename: '/f' }));
    stream.write({ payload: { $case: 'chunk', value: pattern(1000) } });
    const call = await sent(one.daemon, upload);
    await one.daemon.nextPiece();
    stream.cancel();
    await failureOf(done);
    const file = pattern(5000);
    const again = one.session.upload('upload', { remotefilename: '/f' }, [file], { requestId });
    expect((await one.daemon.nextFile()).cancelled).toBe(true);
    await one.daemon.fail(call, 'EINTR', 'cancelled');
    const second = await sent(one.daemon, upload);
    expect((await one.daemon.nextFile()).data.equals(file)).toBe(true);
    await one.daemon.reply(second);
    await again;
  });

  it('needs no file if the first one had it', async () => {
    const file = pattern(3 << 20);
    const first = one.session.upload('upload', { remotefilename: '/f' }, [file], { requestId });
    const call = await sent(one.daemon, upload);
    await one.daemon.nextFile();
    await one.daemon.reply(call);
    await first;
    const { stream, done } = one.session.openUpload('upload', { requestId });
    stream.write(argumentsOf('upload', { remotefilename: '/f' }));
    await done;
    await one.session.upload('upload', { remotefilename: '/f' }, [file], { requestId });
    await expectNoOther(one);
  });

  it('of a call that was given up gets the true answer', async () => {
    const gone = new AbortController();
    const first = failureOf(one.session.call('zero_device', ZERO, { requestId, signal: gone.signal }));
    const call = await sent(one.daemon, zeroDevice);
    gone.abort();
    expect(await first).toMatchObject({ code: status.CANCELLED, requestId });
    const second = one.session.call('zero_device', ZERO, { requestId });
    await one.daemon.reply(call);
    await second;
    await expectNoOther(one);
  });

  it('is passed on with its ID to the replica that has the session', async () => {
    const far = await set.start({ id: 'far' });
    const there = await ready(far, 0);
    const near = new SessionClient(server.client, there.id);
    const first = near.call('zero_device', ZERO, { requestId });
    const call = await sent(there.daemon, zeroDevice);
    const second = there.session.call('zero_device', ZERO, { requestId });
    await delay(50);
    await there.daemon.reply(call);
    await Promise.all([first, second]);
    await near.call('zero_device', ZERO, { requestId });
    expect(await near.failure('mkdir', { path: '/' }, { requestId })).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
    await expectNoOther(there);
    there.machine.die();
    await server.client.sessionAt(there.id).end();
  });
});

describe('the calls of a session', () => {
  let one: Ready;
  beforeEach(async () => {
    one = await ready();
  });

  it('are shown while they wait and run', async () => {
    const calls = ['first', 'second'].map((requestId) => one.session.call('zero_device', ZERO, { requestId }));
    await sent(one.daemon, zeroDevice);
    const session = server.client.sessionAt(one.id);
    await eventually(async () => (await session.calls()).length === 2);
    expect(await session.calls()).toMatchObject([
      { name: 'zero_device', request_id: 'first', state: CallState.RUNNING, abandoned: false },
      { name: 'zero_device', request_id: 'second', state: CallState.WAITING, abandoned: false },
    ]);
    for (const call of calls) call.catch(() => undefined);
    one.machine.die();
  });

  it('that wait end by CancelCall, and were not made', async () => {
    const first = one.session.call('zero_device', ZERO, { requestId: 'first' });
    const call = await sent(one.daemon, zeroDevice);
    const second = failureOf(one.session.call('zero_device', ZERO, { requestId: 'second' }));
    const session = server.client.sessionAt(one.id);
    await eventually(async () => (await session.calls()).length === 2);
    expect(await session.cancelCall('second')).toEqual([]);
    expect(await second).toMatchObject({ code: status.CANCELLED, reason: 'CANCELLED' });
    await one.daemon.reply(call);
    await first;
    await expectNoOther(one);
  });

  it('that run are given up by CancelCall, and shown until the daemon has finished', async () => {
    const first = failureOf(one.session.call('zero_device', ZERO, { requestId: 'first' }));
    const call = await sent(one.daemon, zeroDevice);
    const session = server.client.sessionAt(one.id);
    const cancelled = { request_id: 'first', state: CallState.RUNNING, abandoned: true };
    expect(await session.cancelCall('first')).toMatchObject([cancelled]);
    expect(await first).toMatchObject({
      code: status.CANCELLED,
      reason: 'CANCELLED',
      metadata: { outcome: 'unknown' },
    });
    expect(await session.calls()).toMatchObject([cancelled]);
    await one.daemon.reply(call);
    await eventually(async () => (await session.calls()).length === 0);
    // It was made, and that is what its client is told if it asks again.
    await one.session.call('zero_device', ZERO, { requestId: 'first' });
    await expectNoOther(one);
  });

  it('that take a file end by CancelCall', async () => {
    const { stream, done } = one.session.openUpload('upload', { requestId: 'file' });
    stream.write(argumentsOf('upload', { remotefilename: '/f' }));
    const call = await sent(one.daemon, upload);
    await server.client.sessionAt(one.id).cancelCall('file');
    expect(await failureOf(done)).toMatchObject({ reason: 'CANCELLED' });
    expect((await one.daemon.nextFile()).cancelled).toBe(true);
    await one.daemon.fail(call, 'EINTR', 'cancelled');
    await expectNoOther(one);
  });

  it('that are not there cannot be cancelled', async () => {
    const session = server.client.sessionAt(one.id);
    expect(await failureOf(session.cancelCall('nothing'))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'CALL_UNKNOWN',
    });
    expect(await failureOf(session.cancelCall(''))).toMatchObject({ reason: 'BAD_ARGUMENT' });
  });

  it('whose deadline passes say whether they may have had an effect', async () => {
    // The client's own clock would be faster than the server's answer.
    const metadata = new Metadata();
    metadata.set('guestfs-session', one.id);
    metadata.set('guestfs-request-id', 'late');
    metadata.set('grpc-timeout', '200m');
    const path = '/guestfs.v1.DeviceService/ZeroDevice';
    const late = failureOf(rawUnary(one.session.client, path, Buffer.from([10, 1, 97]), metadata));
    const call = await sent(one.daemon, zeroDevice);
    const waits = new Metadata();
    waits.set('guestfs-session', one.id);
    waits.set('grpc-timeout', '100m');
    const none = failureOf(rawUnary(one.session.client, path, Buffer.from([10, 1, 97]), waits));
    expect(await none).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      reason: 'DEADLINE_EXCEEDED',
      metadata: { outcome: 'none' },
    });
    expect(await late).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      reason: 'DEADLINE_EXCEEDED',
      metadata: { outcome: 'unknown', action: 'zero_device' },
    });
    await one.daemon.reply(call);
  });

  it('that their clients gave up do not delay DeleteSession if there is nothing to lose', async () => {
    const gone = new AbortController();
    const read = failureOf(one.session.call('exists', { path: '/fifo' }, { signal: gone.signal }));
    await sent(one.daemon, exists);
    gone.abort();
    await read;
    const before = performance.now();
    await server.client.deleteSession(one.id);
    expect(performance.now() - before).toBeLessThan(2000);
  });
});

it('CreateSession with other arguments and the same request ID is refused', async () => {
  const requestId = randomUUID();
  const { id } = await server.client.createSession({}, { requestId });
  expect((await server.client.createSession({}, { requestId })).id).toBe(id);
  expect(await failureOf(server.client.createSession({ session_id: 'other' }, { requestId }))).toMatchObject({
    reason: 'REQUEST_ID_REUSED',
  });
  expect(
    await failureOf(server.client.call(SessionServiceService.deleteSession, { id, force: false }, { requestId })),
  ).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  expect(await failureOf(server.client.createSession({ drives: [imageDrive('/none')] }))).toMatchObject({
    reason: 'OUTSIDE_IMAGE_ROOTS',
  });
});

it('CreateSession whose client has gone leaves no session, and is made again when it is repeated', async () => {
  const requestId = randomUUID();
  const gone = new AbortController();
  const drives = [scratchDrive(1 << 20)];
  const before = server.registry.size;
  const first = failureOf(server.client.createSession({ drives, launch: true }, { requestId, signal: gone.signal }));
  const request = await server.launcher.request(launches++);
  gone.abort();
  await first;
  // The server learns of it.
  await delay(300);
  const machine = new FakeMachine('1.61.9');
  request.succeed(machine);
  await machine.daemon.launch();
  await eventually(() => server.registry.list(undefined).length === before + 1);
  // Its end syncs.
  await machine.daemon.reply(await machine.daemon.nextCall());
  await eventually(() => server.registry.size === before);
  expect((await server.client.createSession({ drives }, { requestId: `${requestId}-2` })).id).toBeDefined();
  const again = server.client.createSession({ drives, launch: true }, { requestId });
  const other = new FakeMachine('1.61.9');
  (await server.launcher.request(launches++)).succeed(other);
  await other.daemon.launch();
  expect((await again).daemon_version).toBe('1.61.9');
});
