/** What a session reports in each of its states, and what it refuses. */
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { eventually } from '../support/eventually.js';
import { ended } from '../support/processes.js';
import { serverForTests } from '../support/scene.js';
import { scratchDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
/** The library's number, and that of each of its state queries that is true. */
const CONFIG = { state: 0, is_config: true, is_launching: false, is_ready: false, is_busy: false };
const LAUNCHING = { state: 1, is_config: false, is_launching: true, is_ready: false, is_busy: false };
const READY = { state: 2, is_config: false, is_launching: false, is_ready: true, is_busy: false };
/** More than any machine has. */
const MOST_DRIVES = 255;

describeWithAppliance('a session', () => {
  const scene = serverForTests();

  const told = async (session: SessionClient): Promise<object> => ({
    state: await session.call('get_state'),
    is_config: await session.call('is_config'),
    is_launching: await session.call('is_launching'),
    is_ready: await session.call('is_ready'),
    is_busy: await session.call('is_busy'),
  });
  /** What needs a machine that is ready. */
  const refusals = async (session: SessionClient, state: string): Promise<void> => {
    for (const action of ['get_pid', 'wait_ready']) {
      expect(await session.failure(action)).toMatchObject({
        code: status.FAILED_PRECONDITION,
        details: expect.stringContaining(state),
        info: { reason: 'WRONG_STATE', metadata: { action, state } },
      });
    }
  };

  it('reports each of its states', async () => {
    const { id } = await scene.client.createSession({ drives: [scratchDrive(64 * MEBIBYTE)] });
    const session = new SessionClient(scene.client, id);
    expect(await told(session)).toEqual(CONFIG);
    await refusals(session, 'CONFIG');

    const { event, cancel } = await scene.client.subscribe(id, [EventType.PROGRESS, EventType.LAUNCH_DONE]);
    const launched = session.call('launch');
    await event(({ type }) => type === EventType.PROGRESS);
    expect(await told(session)).toEqual(LAUNCHING);
    await refusals(session, 'LAUNCHING');
    expect(await session.call('max_disks')).toBe(MOST_DRIVES);
    expect((await scene.client.getSession(id)).state).toBe(SessionState.LAUNCHING);
    await launched;
    cancel();

    expect(await told(session)).toEqual(READY);
    await session.call('wait_ready');
    const pid: number = await session.call('get_pid');
    expect(
      scene.server
        .machines()
        .filter(({ name }) => name.startsWith('qemu'))
        .map((one) => one.pid),
    ).toEqual([pid]);
    // The query does not wait for a call in progress.
    const busy = await scene.client.subscribe(id, [EventType.STARTED, EventType.FINISHED]);
    const zeroing = session.call('zero_device', { device: '/dev/sda' });
    await busy.callEvent(EventType.STARTED, 'zero_device');
    expect(await told(session)).toEqual(READY);
    expect(await session.call('get_pid')).toBe(pid);
    expect(busy.events.some(({ type }) => type === EventType.FINISHED)).toBe(false);
    await zeroing;
    busy.cancel();

    await session.call('shutdown');
    expect(await told(session)).toEqual(CONFIG);
    await refusals(session, 'CONFIG');
    await ended(pid);
    await scene.client.deleteSession(id);
  });

  it('is back where it began when its machine is killed', async () => {
    const { id } = await scene.client.createSession({ drives: [scratchDrive(MEBIBYTE)], launch: true });
    const session = new SessionClient(scene.client, id);
    process.kill(await session.call('get_pid'), 'SIGKILL');
    await eventually(async () => (await session.call('get_state')) === CONFIG.state);
    expect(await told(session)).toEqual(CONFIG);
    await refusals(session, 'CONFIG');
    await scene.client.deleteSession(id);
  });

  it('is STOPPING while it is shut down, which has no number in the library, and while it is deleted', async () => {
    const { id } = await scene.client.createSession({ drives: [scratchDrive(MEBIBYTE)], launch: true });
    const session = new SessionClient(scene.client, id);
    const isStopping = async (): Promise<boolean> =>
      (await scene.client.getSession(id)).state === SessionState.STOPPING;
    const { callEvent, event, cancel } = await scene.client.subscribe(id, [
      EventType.STARTED,
      EventType.SUBPROCESS_QUIT,
      EventType.CLOSE,
    ]);

    // An orderly shutdown waits for the call in progress.
    const call = session.call('sleep', { secs: 3 });
    await callEvent(EventType.STARTED, 'sleep');
    const down = session.call('shutdown');
    await eventually(isStopping);
    expect(await told(session)).toEqual(READY);
    for (const [action, request, reason] of [
      ['list_devices', {}, 'APPLIANCE_GONE'],
      ['launch', {}, 'WRONG_STATE'],
      ['add_drive_scratch', { size: 512n }, 'APPLIANCE_GONE'],
      ['set_memsize', { memsize: 512 }, 'WRONG_STATE'],
    ] as const)
      expect(await session.failure(action, request)).toMatchObject({
        info: { reason, metadata: { state: 'STOPPING' } },
      });
    await call;
    await down;
    expect((await scene.client.getSession(id)).state).toBe(SessionState.CONFIG);
    await event(({ type }) => type === EventType.SUBPROCESS_QUIT);

    await session.call('add_drive_scratch', { size: BigInt(MEBIBYTE) });
    await session.call('launch');
    const last = session.call('sleep', { secs: 3 });
    await eventually(async () => (await scene.client.getSession(id)).pending_calls === 1);
    const deleted = scene.client.deleteSession(id);
    await eventually(isStopping);
    expect(await session.failure('get_memsize')).toMatchObject({
      code: status.NOT_FOUND,
      info: { reason: 'SESSION_UNKNOWN', metadata: { state: 'STOPPING' } },
    });
    await last;
    await deleted;
    await event(({ type }) => type === EventType.CLOSE);
    cancel();
  });

  it('has as many drives as max_disks returns, and no more', async () => {
    const { id } = await scene.client.createSession();
    const session = new SessionClient(scene.client, id);
    const most: number = await session.call('max_disks');
    expect(most).toBe(MOST_DRIVES);
    for (let drives = 0; drives < most; drives += 1)
      await session.call('add_drive_scratch', { size: BigInt(MEBIBYTE) });
    expect((await scene.client.getSession(id)).drives).toBe(most);
    expect(await session.failure('add_drive_scratch', { size: BigInt(MEBIBYTE) })).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining(String(most)),
      info: { metadata: { limit: String(most) } },
    });
    await scene.client.deleteSession(id);
  });
});
