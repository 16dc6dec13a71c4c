/** The life cycle of sessions: how they start, what they share, and how they end, properly or not. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import {
  SessionServiceService,
  SessionState,
  type CreateSessionRequest,
  type ListSessionsResponse,
  type Session,
} from '../../gen/proto/guestfs/v1/session.js';
import { describeWhen, describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage, run } from '../support/diskImages.js';
import { eventually } from '../support/eventually.js';
import { holdImage } from '../support/lockHolder.js';
import { ended } from '../support/processes.js';
import { launchSession, serverForTests, settings, type Scene } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, SessionClient, TestClient } from '../support/testClient.js';
import { CLEAN_END, startTestServer } from '../support/testServer.js';

const MEBIBYTE = 1 << 20;
const SECOND_MS = 1000;

function list(client: TestClient, page_size = 0, page_token = ''): Promise<ListSessionsResponse> {
  return client.call(SessionServiceService.listSessions, { page_size, page_token, all_replicas: false });
}

/** CreateSession with a deadline, and a way to cancel it. */
function create(
  client: TestClient,
  request: Partial<CreateSessionRequest>,
  timeoutMs?: number,
): { created: Promise<Session>; cancel: () => void } {
  const controller = new AbortController();
  const deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
  const created = client.createSession(request, { signal: controller.signal, deadline });
  created.catch(() => undefined);
  return { created, cancel: () => controller.abort() };
}

/** No session, no qemu, no run directory. */
async function expectNothingLeft({ client, server }: Scene): Promise<void> {
  await eventually(
    async () =>
      (await list(client)).sessions.length === 0 &&
      server.machines().length === 0 &&
      readdirSync(server.temporary).length === 0,
  );
}

describe('sessions that are not launched', () => {
  const scene = serverForTests({ flags: ['--max-sessions', '5'] });

  afterEach(async () => {
    for (const { id } of (await list(scene.client)).sessions) await scene.client.deleteSession(id);
  });

  it('have the ID chosen by the client, which no other session can have until they end', async () => {
    const id = `chosen.by-the_client${'x'.repeat(44)}`;
    expect((await scene.client.createSession({ session_id: id })).id).toBe(id);
    expect(await failureOf(scene.client.createSession({ session_id: id }))).toMatchObject({
      code: status.ALREADY_EXISTS,
      details: expect.stringContaining(id),
      info: { reason: 'SESSION_EXISTS' },
    });
    await scene.client.deleteSession(id);
    await scene.client.createSession({ session_id: id });
  });

  it('have a random ID of 128 bits otherwise', async () => {
    const ids = await Promise.all([1, 2, 3].map(async () => (await scene.client.createSession()).id));
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  });

  it('are as many as the server allows; the next one gets a retry delay', async () => {
    const ids = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map(async (session_id) => (await scene.client.createSession({ session_id })).id),
    );
    expect(await failureOf(scene.client.createSession())).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('5'),
      info: {
        reason: 'TOO_MANY_SESSIONS',
        retryAfterMs: expect.any(Number),
        metadata: { limit: '5', action: 'CreateSession' },
      },
    });
    await scene.client.deleteSession(ids[0] ?? '');
    await scene.client.createSession({ session_id: 'f' });
  });

  it('are listed with their labels, the oldest first, in pages', async () => {
    for (const session_id of ['s1', 's2', 's3', 's4', 's5'])
      await scene.client.createSession({
        session_id,
        labels: new Map([
          ['job', `for ${session_id}`],
          ['ü', ''],
        ]),
      });
    const pages: string[][] = [];
    let token = '';
    do {
      const page = await list(scene.client, 2, token);
      pages.push(page.sessions.map(({ id }) => id));
      for (const { id, labels } of page.sessions)
        expect(labels).toEqual(
          new Map([
            ['job', `for ${id}`],
            ['ü', ''],
          ]),
        );
      token = page.next_page_token;
    } while (token !== '');
    expect(pages).toEqual([['s1', 's2'], ['s3', 's4'], ['s5']]);
    expect((await list(scene.client)).sessions).toHaveLength(5);
  });

  it('have the settings they were created with', async () => {
    const given = settings({ memsize: 777, smp: 2, verbose: true, trace: true, autosync: false });
    const session = new SessionClient(scene.client, (await scene.client.createSession({ settings: given })).id);
    expect(
      await Promise.all(
        ['get_memsize', 'get_smp', 'get_verbose', 'get_trace', 'get_autosync', 'get_network'].map((name) =>
          session.call(name),
        ),
      ),
    ).toEqual([777, 2, true, true, false, false]);
    const plain = new SessionClient(scene.client, (await scene.client.createSession()).id);
    expect(
      await Promise.all(
        ['get_memsize', 'get_smp', 'get_verbose', 'get_trace', 'get_autosync', 'get_network'].map((name) =>
          plain.call(name),
        ),
      ),
    ).toEqual([1280, 1, false, false, true, false]);
  });

  it('end when they have been idle for long enough, and report it', async () => {
    const {
      id,
      expire_time: expires,
      create_time: created,
    } = await scene.client.createSession({ idle_timeout: { seconds: 2n, nanos: 0 } });
    expect(Number(expires) - Number(created)).toBe(2 * SECOND_MS);
    const session = new SessionClient(scene.client, id);
    const { events, ended: streamEnded } = await scene.client.subscribe(id, [EventType.CLOSE]);
    // A use puts the end off.
    while (Date.now() < Number(expires) + 500) await session.call('get_memsize');
    const later = (await scene.client.getSession(id)).expire_time;
    expect(Number(later)).toBeGreaterThan(Number(expires));
    await streamEnded;
    expect(Date.now()).toBeGreaterThanOrEqual(Number(later));
    expect(events.map(({ type }) => type)).toEqual([EventType.CLOSE]);
    expect(await failureOf(scene.client.getSession(id))).toMatchObject({
      code: status.NOT_FOUND,
      details: expect.stringContaining('idle timeout'),
    });
  });

  it('leave nothing if they cannot be launched', async () => {
    const failure = await failureOf(scene.client.createSession({ launch: true, session_id: 'no-drives' }));
    expect(failure).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'NO_DRIVES' } });
    await expectNothingLeft(scene);
    await scene.client.createSession({ session_id: 'no-drives' });
  });

  it('leave nothing when the appliance is missing, and the error does not ask the client to set variables', async () => {
    const server = await startTestServer({ flags: ['--appliance', '/nonexistent/appliance'] });
    try {
      const drives = [scratchDrive(MEBIBYTE)];
      const failing = { client: new TestClient(server.address), server };
      const failure = await failureOf(failing.client.createSession({ drives, launch: true }));
      expect(failure).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'APPLIANCE_MISSING' } });
      expect(failure.details).not.toMatch(/LIBGUESTFS_|export /);
      await expectNothingLeft(failing);
      failing.client.close();
    } finally {
      await server.stop();
    }
  });

  it('cannot be deleted twice', async () => {
    const { id } = await scene.client.createSession();
    const [one, other] = await Promise.allSettled([scene.client.deleteSession(id), scene.client.deleteSession(id)]);
    expect([one.status, other.status]).toContain('fulfilled');
    expect(await failureOf(scene.client.deleteSession(id))).toMatchObject({ code: status.NOT_FOUND });
  });
});

describeWithAppliance('a launch that is given up', () => {
  // The slow way, so that there is time to give up.
  const scene = serverForTests({ flags: ['--accel', 'tcg', '--launch', 'cold'] });
  const drives = [scratchDrive(MEBIBYTE)];

  /** Resolves when there is a qemu. */
  const booting = (): Promise<void> =>
    eventually(() => scene.server.machines().some(({ name }) => name.startsWith('qemu')));

  it('by its deadline leaves no session, no qemu and no directory', async () => {
    const { created } = create(scene.client, { session_id: 'late', drives, launch: true }, 1.5 * SECOND_MS);
    expect(await failureOf(created)).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await expectNothingLeft(scene);
  });

  it('by its client leaves no session, no qemu and no directory', async () => {
    const { created, cancel } = create(scene.client, { session_id: 'cancelled', drives, launch: true });
    await booting();
    cancel();
    expect(await failureOf(created)).toMatchObject({ code: status.CANCELLED });
    await expectNothingLeft(scene);
  });

  it.each([
    ['before there is a qemu', 1_000_000],
    ['while the guest boots', 1_500_000_000],
  ])('by its time limit is reported and leaves nothing, %s', async (_when, nanoseconds) => {
    const limited = settings({
      launch_timeout: { seconds: BigInt(Math.floor(nanoseconds / 1e9)), nanos: nanoseconds % 1e9 },
    });
    const failure = await failureOf(create(scene.client, { drives, launch: true, settings: limited }).created);
    expect(failure).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: expect.stringContaining('did not come up'),
      info: { reason: 'LAUNCH_TIMEOUT', metadata: { action: 'CreateSession' } },
    });
    await expectNothingLeft(scene);
  });

  it('by DeleteSession is reported, and removes everything', async () => {
    const { id } = await scene.client.createSession({ drives });
    const launched = failureOf(new SessionClient(scene.client, id).call('launch'));
    await booting();
    await scene.client.deleteSession(id);
    expect(await launched).toMatchObject({
      info: { reason: 'LAUNCH_FAILED' },
      details: expect.stringContaining('shut down'),
    });
    await expectNothingLeft(scene);
  });

  it('by kill_subprocess is reported; the session is as it was before', async () => {
    const { id } = await scene.client.createSession({ drives });
    const session = new SessionClient(scene.client, id);
    const launched = failureOf(session.call('launch'));
    await booting();
    await session.call('kill_subprocess');
    expect(await launched).toMatchObject({
      info: { reason: 'LAUNCH_FAILED' },
      details: expect.stringContaining('kill_subprocess'),
    });
    expect(await scene.client.getSession(id)).toMatchObject({ state: SessionState.CONFIG, drives: 1 });
    await scene.client.deleteSession(id);
    await expectNothingLeft(scene);
  });

  it('of an existing session by its deadline brings the session back to where it was', async () => {
    const { id } = await scene.client.createSession({ drives });
    const session = new SessionClient(scene.client, id);
    const { event, cancel } = await scene.client.subscribe(id, [EventType.SUBPROCESS_QUIT]);
    expect(await session.failure('launch', {}, { deadline: Date.now() + 2 * SECOND_MS })).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
    await event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect(await scene.client.getSession(id)).toMatchObject({ state: SessionState.CONFIG, drives: 1 });
    cancel();
    await scene.client.deleteSession(id);
    await expectNothingLeft(scene);
  });
});

describeWithAppliance('a host whose disk is full', () => {
  const scene = serverForTests();

  // Such a disk needs a mount, which requires root; it is removed before the server ends.
  describeWhen('by a mount', process.geteuid?.() === 0 ? undefined : 'it takes root', () => {
    let directory: string;
    beforeAll(() => {
      directory = join(scene.server.images, 'full');
      mkdirSync(directory);
      run('mount', '-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', directory);
    });
    afterAll(() => {
      run('umount', directory);
    });

    it('is reported when the session ends, although the guest accepted all writes', async () => {
      const image = emptyImage(join(directory, 'disk.img'), 64);
      const session = await launchSession(scene.client, [imageDrive(image)]);
      await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
      await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
      await session.call('fill', { c: 1, len: 24 * MEBIBYTE, path: '/large' });
      const failure = await failureOf(scene.client.deleteSession(session.id));
      expect(failure).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        info: { reason: 'ENOSPC', metadata: { device: '/dev/sda' } },
      });
      expect((await failureOf(scene.client.getSession(session.id))).code).toBe(status.NOT_FOUND);
    });

    it('is reported when a drive is detached', async () => {
      for (const full of readdirSync(directory)) rmSync(join(directory, full));
      const image = emptyImage(join(directory, 'second.img'), 64);
      const session = await launchSession(scene.client, [scratchDrive(MEBIBYTE)]);
      await session.call('add_drive', { filename: image, format: 'raw', label: 'second' });
      await session.call('mkfs', { fstype: 'ext2', device: '/dev/sdb' });
      await session.call('mount', { mountable: '/dev/sdb', mountpoint: '/' });
      await session.call('fill', { c: 1, len: 24 * MEBIBYTE, path: '/large' });
      const lost = {
        code: status.RESOURCE_EXHAUSTED,
        info: { reason: 'ENOSPC', metadata: { device: '/dev/sdb' } },
      };
      expect(await session.failure('umount', { pathordevice: '/' })).toMatchObject(lost);
      expect(await session.failure('remove_drive', { label: 'second' })).toMatchObject(lost);
      // The guest reported what it noticed with the call above; it would not report it again.
      await scene.client.deleteSession(session.id).catch(() => undefined);
    });
  });
});

describeWithAppliance('a launch on a server that stops', () => {
  it('gets an error, since nothing of the session is left', async () => {
    const server = await startTestServer();
    const client = new TestClient(server.address);
    const { created } = create(client, { drives: [scratchDrive(MEBIBYTE)], launch: true });
    const failure = failureOf(created);
    await eventually(() => server.machines().length > 0);
    expect(await server.stop()).toEqual(CLEAN_END);
    expect(await failure).toMatchObject({ code: status.UNAVAILABLE, info: { reason: 'SHUTTING_DOWN' } });
    client.close();
  });
});

describeWithAppliance('sessions that are launched', () => {
  const scene = serverForTests();
  const NAMES = ['one', 'two', 'three'] as const;
  let sessions: SessionClient[];

  beforeAll(async () => {
    for (const name of NAMES) emptyImage(join(scene.server.images, `${name}.img`), 16);
    sessions = [];
    for (const name of NAMES) sessions.push(await launchSession(scene.client, [imageDrive(`${name}.img`)]));
  });

  const session = (index: number): SessionClient => sessions[index] as SessionClient;

  /** The qemu of a session. */
  const machineOf = (index: number): number => {
    const found = scene.server
      .machines()
      .filter(
        ({ name, pid }) => name.startsWith('qemu') && run('cat', `/proc/${pid}/cmdline`).includes(session(index).id),
      );
    expect(found).toHaveLength(1);
    return found[0]?.pid ?? 0;
  };

  it('in parallel do not disturb each other', async () => {
    await Promise.all(
      NAMES.map(async (name, index) => {
        await session(index).call('mkfs', { fstype: 'ext2', device: '/dev/sda', label: name });
        await session(index).call('mount', { mountable: '/dev/sda', mountpoint: '/' });
        await session(index).call('write', { path: '/name', content: Buffer.from(name) });
      }),
    );
    const seen = await Promise.all(
      NAMES.map((_name, index) =>
        Promise.all([
          session(index).call('cat', { path: '/name' }),
          session(index).call('vfs_label', { mountable: '/dev/sda' }),
        ]),
      ),
    );
    expect(seen).toEqual(NAMES.map((name) => [name, name]));
  });

  it('have the output of their console', async () => {
    expect(await scene.client.getLog(session(0).id)).toContain('guestfsd');
  });

  it('whose qemu is killed in the middle of a call: its outcome is unknown, waiting calls were never sent; the others continue', async () => {
    const { callEvent, event, cancel } = await scene.client.subscribe(session(0).id);
    const running = failureOf(session(0).call('sleep', { secs: 3600 }));
    await callEvent(EventType.STARTED, 'sleep');
    const waiting = failureOf(session(0).call('touch', { path: '/never' }));
    await callEvent(EventType.QUEUED, 'touch');
    const pid = machineOf(0);
    process.kill(pid, 'SIGKILL');
    expect(await running).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'OUTCOME_UNKNOWN', retryAfterMs: undefined, metadata: { action: 'sleep', state: 'CONFIG' } },
    });
    expect(await waiting).toMatchObject({
      code: status.UNAVAILABLE,
      info: { reason: 'APPLIANCE_GONE', metadata: { action: 'touch' } },
    });
    await event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    await ended(pid);
    expect(await scene.client.getSession(session(0).id)).toMatchObject({
      state: SessionState.CONFIG,
      drives: 0,
      daemon_version: '',
    });
    expect(await session(1).call('cat', { path: '/name' })).toBe('two');
    cancel();
  });

  it('and are killed by kill_subprocess in the middle of a call: its outcome is unknown, too', async () => {
    const { callEvent, event, cancel } = await scene.client.subscribe(session(1).id);
    const running = failureOf(session(1).call('sleep', { secs: 3600 }));
    await callEvent(EventType.STARTED, 'sleep');
    await session(1).call('kill_subprocess');
    expect(await running).toMatchObject({
      code: status.ABORTED,
      info: { reason: 'OUTCOME_UNKNOWN', metadata: { action: 'sleep' } },
    });
    await event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect((await scene.client.getSession(session(1).id)).state).toBe(SessionState.CONFIG);
    expect(await session(2).call('cat', { path: '/name' })).toBe('three');
    cancel();
  });

  it('and lost their appliance can be launched again, with drives given anew, and find what was written', async () => {
    expect(await session(1).failure('launch')).toMatchObject({ info: { reason: 'NO_DRIVES' } });
    await session(1).call('add_drive', { filename: 'two.img', format: 'raw' });
    await session(1).call('launch');
    expect(await session(1).call('list_devices')).toEqual(['/dev/sda']);
    expect(await session(1).call('vfs_type', { mountable: '/dev/sda' })).toBe('ext2');
  });

  it('and are shut down properly have written everything; the image is free at once', async () => {
    await session(2).call('write', { path: '/last', content: Buffer.from('words') });
    await session(2).call('shutdown');
    expect((await scene.client.getSession(session(2).id)).state).toBe(SessionState.CONFIG);
    const image = join(scene.server.images, 'three.img');
    expect(debugfs(image, 0, 'cat /last')).toBe('words');
    await (await holdImage(image)).release();
  });

  it('and are deleted free their image at once, too', async () => {
    await scene.client.deleteSession(session(1).id);
    const image = join(scene.server.images, 'two.img');
    await (await holdImage(image)).release();
    expect(run('e2fsck', '-f', '-n', image)).toContain('files');
  });

  it('and are deleted while a call runs: the call is waited for', async () => {
    await session(0).call('add_drive', { filename: 'one.img', format: 'raw' });
    await session(0).call('launch');
    const { callEvent, ended: streamEnded } = await scene.client.subscribe(session(0).id);
    const running = session(0).call('sleep', { secs: 3 });
    await callEvent(EventType.STARTED, 'sleep');
    await scene.client.deleteSession(session(0).id);
    await running;
    await streamEnded;
  });
});
