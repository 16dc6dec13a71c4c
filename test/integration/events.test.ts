/** Events: each kind is sent when its cause happens, to its subscribers, in order. */
import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { beforeAll, expect, it } from '@jest/globals';
import { EventServiceService, EventType, type SubscribeResponse } from '../../gen/proto/guestfs/v1/event.js';
import { Accelerator, SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { serverForTests, settings } from '../support/scene.js';
import { scratchDrive, SessionClient, type Subscription } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const KEY = 'open-sesame-and-tell-nobody';

const messageOf = (event: SubscribeResponse): string => (event.detail?.$case === 'message' ? event.detail.value : '');
const messagesOf = ({ events }: Subscription, type: EventType): string[] =>
  events.filter((event) => event.type === type).map(messageOf);

/** Queued, started and finished events of one action, and its error. */
function lifeOf({ events }: Subscription, action: string): [EventType, bigint, string][] {
  return events.flatMap(({ type, detail }) =>
    detail?.$case === 'call' && detail.value.action === action
      ? [[type, detail.value.number, detail.value.error_reason] as [EventType, bigint, string]]
      : [],
  );
}

function progressOf({ events }: Subscription, action: string) {
  return events.flatMap(({ detail }) =>
    detail?.$case === 'progress' && detail.value.action === action ? [detail.value] : [],
  );
}

describeWithAppliance('events', () => {
  const scene = serverForTests({ flags: ['--debug-service', '--launch', 'cold'] });
  let session: SessionClient;
  /** All events of the session. */
  let all: Subscription;
  /** An idle session, and a subscription to events that do not happen. */
  let silent: Subscription;
  let silentSince: number;

  beforeAll(async () => {
    const quiet = await scene.client.createSession();
    silent = await scene.client.subscribe(quiet.id, [EventType.CLOSE]);
    silentSince = Date.now();
    const { id } = await scene.client.createSession({
      drives: [scratchDrive(64 * MEBIBYTE)],
      settings: settings({ verbose: true, trace: true }),
    });
    session = new SessionClient(scene.client, id);
    all = await scene.client.subscribe(id);
  });

  it('report a launch: its progress, its console, and its end', async () => {
    await session.call('launch', {}, { requestId: 'the-launch' });
    const done = await all.event(({ type }) => type === EventType.LAUNCH_DONE);
    expect(done.detail).toBeUndefined();
    const steps = progressOf(all, 'launch');
    expect(steps[0]).toMatchObject({ procedure: 0, position: 0n, total: 12n });
    expect(steps.at(-1)).toMatchObject({ position: 12n, total: 12n });
    expect(new Set(steps.map(({ request_id }) => request_id))).toEqual(new Set(['the-launch']));
    expect(messagesOf(all, EventType.APPLIANCE).join('')).toMatch(/Linux version [^]*guestfsd/);
    await all.event((event) => event.type === EventType.TRACE && messageOf(event) === 'launch = 0');
    expect(messagesOf(all, EventType.ENTER)).toEqual(['launch']);
    expect(messagesOf(all, EventType.TRACE)).toEqual(['launch', 'launch = 0']);
  });

  it('report what the server decides and does for a verbose session', () => {
    const libraryMessages = messagesOf(all, EventType.LIBRARY);
    expect(libraryMessages[0]).toBe('launch: program=guestfs-grpc');
    expect(libraryMessages[1]).toMatch(/^launch: accelerator (kvm|tcg), memory 1280 MiB, processors 1, drives 1$/);
    expect(libraryMessages[2]).toMatch(/^launch: \S*qemu\S* .*-sandbox on/);
    expect(libraryMessages[3]).toMatch(/^launch: daemon 1\.\d+\.\d+ is up after \d+ ms$/);
    expect(libraryMessages).toHaveLength(4);
  });

  it('warn when KVM was preferred and does not work', async () => {
    const { accelerator } = await scene.client.getSession(session.id);
    const warnings = messagesOf(all, EventType.WARNING);
    if (accelerator === Accelerator.KVM) expect(warnings).toEqual([]);
    else expect(warnings).toEqual([expect.stringMatching(/^KVM is unusable on this server, .*: ./)]);
  });

  it('report each call: queued, started, finished, and its outcome', async () => {
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.failure('rmdir', { path: '/no/such' }, { requestId: 'the-removal' });
    await all.callEvent(EventType.FINISHED, 'rmdir');
    const life = lifeOf(all, 'rmdir');
    const number = life[0]?.[1] ?? 0n;
    expect(number).toBeGreaterThan(0n);
    expect(life).toEqual([
      [EventType.QUEUED, number, ''],
      [EventType.STARTED, number, ''],
      [EventType.FINISHED, number, 'ENOENT'],
    ]);
    const named = all.events.filter(
      ({ detail }) => detail?.$case === 'call' && detail.value.request_id === 'the-removal',
    );
    expect(named.map(({ type }) => type)).toEqual([EventType.QUEUED, EventType.STARTED, EventType.FINISHED]);
    expect(lifeOf(all, 'mount').at(-1)).toEqual([EventType.FINISHED, number - 1n, '']);
    expect(messagesOf(all, EventType.ENTER)).toEqual(expect.arrayContaining(['mkfs', 'mount', 'rmdir']));
  });

  it("trace calls in libguestfs's form", async () => {
    await session.call('write', { path: '/a b', content: Buffer.from('x\0y\n') });
    await session.call('ls', { directory: '/' });
    await session.call('is_file', { path: '/a b', followsymlinks: true });
    const stat = await session.call('stat', { path: '/a b' });
    expect(stat).toBeDefined();
    await all.event((event) => event.type === EventType.TRACE && messageOf(event).startsWith('stat = '));
    const traces = messagesOf(all, EventType.TRACE);
    expect(traces).toEqual(
      expect.arrayContaining([
        'mkfs "ext2" "/dev/sda"',
        'mkfs = 0',
        'rmdir "/no/such"',
        'rmdir = -1 (error)',
        'write "/a b" "x\\x00y\\x0a"',
        'is_file "/a b" "followsymlinks:true"',
        'is_file = 1',
        expect.stringMatching(/^stat = <struct guestfs_stat = dev: \d+, ino: \d+, /),
      ]),
    );
  });

  it('never show a key', async () => {
    await session.failure('luks_format', { device: '/dev/nosuch', key: KEY, keyslot: 0 });
    await session.failure('luks_open', { device: '/dev/sda', key: KEY, mapname: 'map' });
    await all.event((event) => event.type === EventType.TRACE && messageOf(event) === 'luks_open = -1 (error)');
    expect(messagesOf(all, EventType.TRACE)).toEqual(
      expect.arrayContaining(['luks_format "/dev/nosuch" "***" 0', 'luks_open "/dev/sda" "***" "map"']),
    );
    expect(all.events.map(messageOf).join('\n')).not.toContain(KEY);
    expect(await scene.client.getLog(session.id)).not.toContain(KEY);
    expect(scene.server.log()).not.toContain(KEY);
  });

  it('report progress while the call runs', async () => {
    const call = session.call(
      'debug',
      { subcmd: 'progress', extraargs: ['3', '200000'] },
      { requestId: 'the-progress' },
    );
    let done = false;
    void (call as Promise<string>).then(() => {
      done = true;
    });
    const first = await all.event(({ detail }) => detail?.$case === 'progress' && detail.value.action === 'debug');
    expect(done).toBe(false);
    expect(first.type).toBe(EventType.PROGRESS);
    expect(await call).toBe('ok');
    await all.callEvent(EventType.FINISHED, 'debug');
    const steps = progressOf(all, 'debug');
    expect(steps).toHaveLength(15);
    expect(steps.map(({ position }) => position)).toEqual(
      [...steps.map(({ position }) => position)].sort((one, other) => Number(one - other)),
    );
    expect(new Set(steps.map(({ serial }) => serial)).size).toBe(1);
    expect(new Set(steps.map(({ request_id }) => request_id))).toEqual(new Set(['the-progress']));
    expect(steps.at(-1)).toMatchObject({ procedure: 76, position: 3_000_000n, total: 3_000_000n });
  });

  it('have the output of the daemon', async () => {
    await session.call('debug', { subcmd: 'print', extraargs: ['Hear,', 'hear!'] });
    await all.event(() => messagesOf(all, EventType.APPLIANCE).join('').includes('Hear, hear!'));
  });

  it('are numbered without a gap', () => {
    const numbered = all.events.filter(({ type }) => type !== EventType.HEARTBEAT);
    expect(
      numbered.filter((event, index) => index > 0 && event.sequence !== (numbered[index - 1]?.sequence ?? 0n) + 1n),
    ).toEqual([]);
    expect(numbered.some(({ lost }) => lost !== 0n)).toBe(false);
  });

  it('arrive as requested', async () => {
    const some = await scene.client.subscribe(session.id, [EventType.ENTER, EventType.FINISHED]);
    await session.call('get_program');
    await session.call('ping_daemon');
    await some.callEvent(EventType.FINISHED, 'ping_daemon');
    expect(some.events.map(({ type }) => type)).toEqual([EventType.ENTER, EventType.ENTER, EventType.FINISHED]);
    some.cancel();
    await expect(some.ended).rejects.toMatchObject({ code: status.CANCELLED });
    await expect(scene.client.subscribe(session.id, [99 as EventType])).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      info: { fields: ['types[0]'] },
    });
    await expect(scene.client.subscribe('no-such-session')).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it('do not wait for a slow subscriber, who gets the number of lost ones', async () => {
    const CALLS = 3600;
    // Not read: only what fits into the buffers in between is sent.
    const slow = scene.client
      .sessionAt(session.id)
      .openStream(EventServiceService.subscribe, { types: [EventType.TRACE] });
    slow.on('error', () => undefined); // it is cancelled below
    await once(slow, 'metadata');
    for (let made = 0; made < CALLS; made += 100) {
      await Promise.all(
        Array.from({ length: 100 }, (_, index) =>
          session.call('set_program', { program: `${made + index}`.padEnd(1000, '.') }),
        ),
      );
    }
    await session.call('ping_daemon');

    let received = 0;
    let lost = 0;
    let told = false;
    const reading = (async () => {
      for await (const event of slow as AsyncIterable<SubscribeResponse>) {
        received += 1;
        lost += Number(event.lost);
        if (messageOf(event) === 'get_identifier') break;
      }
      told = true;
    })();
    // Who was too slow learns of it with the next event for which there is room.
    let asked = 0;
    for (; !told; asked += 1) await session.call('get_identifier');
    await reading;
    slow.cancel();
    expect(lost).toBeGreaterThan(0);
    const events = 2 * CALLS + 2; // of each call, and its result
    expect(received + lost).toBeGreaterThan(events);
    expect(received + lost).toBeLessThanOrEqual(events + 2 * asked);
  });

  it('report that the appliance ended', async () => {
    await session.call('kill_subprocess');
    await all.event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect((await scene.client.getSession(session.id)).state).toBe(SessionState.CONFIG);
  });

  it('report that it ended unexpectedly, or in the middle of its launch, with details only if requested', async () => {
    await session.call('set_verbose', { verbose: false });
    await session.call('add_drive_scratch', { size: BigInt(MEBIBYTE) });
    const again = await scene.client.subscribe(session.id, [
      EventType.LIBRARY,
      EventType.APPLIANCE,
      EventType.SUBPROCESS_QUIT,
      EventType.LAUNCH_DONE,
    ]);
    const launch = session.failure('launch');
    await again.event(({ type }) => type === EventType.APPLIANCE);
    for (const { pid, name } of scene.server.machines()) if (name.startsWith('qemu')) process.kill(pid, 'SIGKILL');
    expect((await launch).info?.reason).toBe('QEMU_FAILED');
    await again.event(({ type }) => type === EventType.SUBPROCESS_QUIT);
    expect(messagesOf(again, EventType.LIBRARY)).toEqual([]);
    expect(again.events.some(({ type }) => type === EventType.LAUNCH_DONE)).toBe(false);
    again.cancel();
  });

  it('end with the session', async () => {
    await scene.client.deleteSession(session.id);
    await all.ended;
    expect(all.events.at(-1)?.type).toBe(EventType.CLOSE);
  });

  it('are interrupted by heartbeats when nothing happens', async () => {
    const beat = await silent.event(({ type }) => type === EventType.HEARTBEAT);
    expect(Number(beat.time) - silentSince).toBeGreaterThanOrEqual(19_000);
    expect(beat).toMatchObject({ sequence: 0n, lost: 0n });
    expect(silent.events.every(({ type }) => type === EventType.HEARTBEAT)).toBe(true);
    silent.cancel();
  });
});
