/** Concurrent launches, ends and calls, on a fake launcher and a fake daemon. */
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { isDir } from '../../../gen/calls/file.js';
import { internalAutosync } from '../../../gen/calls/internal.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { silentLogger } from '../../../src/common/logger.js';
import type { Session } from '../../../src/session/session.js';
import { SessionRegistry } from '../../../src/session/sessionRegistry.js';
import { failureOf, thrownBy } from '../../fakes/connected.js';
import { quiet } from '../../fakes/duplexPair.js';
import { FakeMachine } from '../../fakes/fakeLauncher.js';
import { action, drive, launch, launched, listen, never, testSession } from '../../fakes/sessions.js';
import { word } from '../../fakes/xdrBytes.js';

afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

function ask(session: Session): Promise<unknown> {
  const request = { path: '/', followsymlinks: undefined };
  return session.perform(action('is_dir'), request, never, (daemon) => daemon.call(isDir, request));
}

/** A promise, and what resolves it. */
function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

describe('the resources of a session', () => {
  it('are none without an appliance, also while it is deleted', async () => {
    const { session } = testSession();
    session.addDrive(drive, 'add_drive');
    const closed = session.close();
    expect(session.state).toBe('STOPPING');
    expect(session.resources).toBeUndefined();
    await closed;
  });

  it('include a drive that is being attached', async () => {
    const { session, machine } = await launched();
    const attaching = gate();
    machine.drives.before = () => attaching.passed;
    const attached = session.attachDrive(drive, 'add_drive', never);
    await quiet();
    expect(session.resources).toMatchObject({ drives: 2 });
    attaching.open();
    await attached;
    expect(session.resources).toMatchObject({ drives: 2 });
  });

  it('are those of an appliance that was killed until it has ended, also if the next launch fails', async () => {
    const { session, machine } = await launched();
    const end = gate();
    machine.ending = end.passed;
    const killed = session.kill();
    const used = { memsizeMb: 512, smp: 1, drives: 1 };
    expect(session.state).toBe('CONFIG');
    expect(session.resources).toEqual(used);
    session.addDrive(drive, 'add_drive');
    await failureOf(session.launch(AbortSignal.abort(new GuestfsError('CANCELLED', 'the client gives up'))));
    expect(session.resources).toEqual(used);
    end.open();
    await killed;
    expect(session.resources).toBeUndefined();
  });
});

describe('the state while a session ends', () => {
  it('is STOPPING during an entire deletion, then CLOSED', async () => {
    const { session, machine, daemon } = await launched();
    const end = gate();
    machine.ending = end.passed;
    const closed = session.close();
    expect(session.state).toBe('STOPPING');
    await daemon.reply(await daemon.nextCall());
    await quiet();
    expect(machine.stops).toBe(1);
    expect(session.state).toBe('STOPPING');
    expect(session.expireTime).toBeUndefined();
    end.open();
    await closed;
    expect(session.state).toBe('CLOSED');
    expect(session.expireTime).toBeUndefined();
  });

  it('is STOPPING while the launch of a deleted session is cancelled', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const request = await launcher.request();
    const closed = session.close();
    expect(session.state).toBe('STOPPING');
    expect(request.options.signal.aborted).toBe(true);
    request.fail(request.options.signal.reason);
    expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED' });
    await closed;
    expect(session.state).toBe('CLOSED');
  });

  it('is STOPPING during a shutdown, and CONFIG after it', async () => {
    const { session, daemon } = await launched();
    const down = session.shutdown();
    expect(session.state).toBe('STOPPING');
    await daemon.reply(await daemon.nextCall());
    await down;
    expect(session.state).toBe('CONFIG');
  });

  it('is STOPPING, not CONFIG, when a session is deleted in the middle of a shutdown', async () => {
    const { session, daemon } = await launched();
    const down = session.shutdown();
    const closed = session.close();
    await daemon.reply(await daemon.nextCall());
    await Promise.all([down, closed]);
    expect(session.state).toBe('CLOSED');
  });
});

describe('concurrent ends', () => {
  it('a deletion during a shutdown reports no loss when all was synced', async () => {
    const { session, machine, daemon } = await launched();
    const { events, done } = listen(session);
    const down = session.shutdown();
    const sync = await daemon.nextCall();
    const closed = session.close();
    await quiet();
    await daemon.reply(sync);
    await Promise.all([down, closed]);
    await done;
    expect(machine.stops).toBe(1);
    expect(events).toEqual(['subprocess_quit', 'close']);
  });

  it('a shutdown during a deletion waits for it, and reports its write error', async () => {
    const { session, daemon } = await launched();
    const ends = [failureOf(session.close()), failureOf(session.shutdown())];
    await daemon.fail(await daemon.nextCall(), 'EIO', 'fsync: /dev/sda: Input/output error');
    for (const failure of await Promise.all(ends)) expect(failure).toMatchObject({ reason: 'EIO' });
    expect(await failureOf(session.close())).toMatchObject({ reason: 'EIO' });
  });

  it('a kill ends a shutdown that waits for a call in progress, which reports the loss and not a timeout', async () => {
    const { session, daemon } = await launched();
    const answer = failureOf(ask(session));
    await daemon.nextCall();
    const down = failureOf(session.shutdown());
    await quiet();
    await session.kill();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(await down).toMatchObject({ reason: 'OUTCOME_UNKNOWN', message: expect.stringContaining('is lost') });
    expect(session.state).toBe('CONFIG');
  });

  it('a kill gives qemu hardly any time', async () => {
    const { session, machine } = await launched();
    await session.kill();
    expect(machine.graces).toEqual([1000]);
  });

  it('a kill ends a sync that takes long', async () => {
    const { session, daemon } = await launched();
    const closed = failureOf(session.close());
    expect((await daemon.nextCall()).procedure).toBe(internalAutosync.procedure);
    await session.kill();
    expect(await closed).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(session.state).toBe('CLOSED');
  });

  it('a kill does not wait for a qemu that takes long to flush its caches', async () => {
    const { session, machine, daemon } = await launched();
    const end = gate();
    machine.ending = end.passed;
    const graces: (number | undefined)[] = [];
    const stop = machine.stop.bind(machine);
    machine.stop = (graceMs?: number) => {
      graces.push(graceMs);
      return stop();
    };
    const down = failureOf(session.shutdown());
    await daemon.reply(await daemon.nextCall());
    await quiet();
    machine.end = { exitCode: undefined, signal: 'SIGKILL' };
    const killed = session.kill();
    await quiet();
    expect(graces).toEqual([60_000, 1000]);
    end.open();
    await killed;
    expect(await down).toMatchObject({ reason: 'OUTCOME_UNKNOWN', message: expect.stringContaining('was killed') });
    expect(session.state).toBe('CONFIG');
  });

  it('an appliance that dies while a shutdown waits for a call in progress has not synced', async () => {
    const { session, machine, daemon } = await launched();
    const answer = failureOf(ask(session));
    await daemon.nextCall();
    const down = failureOf(session.shutdown());
    await quiet();
    machine.die();
    expect(await answer).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    expect(await down).toMatchObject({
      reason: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('before it was synced'),
    });
    expect(session.state).toBe('CONFIG');
  });

  it('an appliance that violates the protocol in the call before a sync has not synced', async () => {
    const { session, machine, daemon } = await launched();
    machine.end = { exitCode: 0 };
    const answer = failureOf(ask(session));
    const call = await daemon.nextCall();
    const closed = failureOf(session.close());
    await daemon.reply(call, word(7));
    expect(await answer).toMatchObject({ reason: 'PROTOCOL_ERROR' });
    expect(await closed).toMatchObject({
      reason: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('before it was synced'),
    });
  });

  it('a machine that cannot be stopped causes an error, and the session remains usable', async () => {
    const { session, machine, daemon } = await launched();
    machine.stop = async () => {
      throw new Error('rm: run directory is busy');
    };
    const down = failureOf(session.shutdown());
    await daemon.reply(await daemon.nextCall());
    expect(await down).toMatchObject({ message: 'rm: run directory is busy' });
    expect(session.state).toBe('CONFIG');
  });
});

describe('a launch that is cancelled', () => {
  it('just when its daemon is up leaves no appliance behind', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine('1.54.1');
    (await launcher.request()).succeed(machine);
    await quiet();
    const daemonUp = machine.daemon.launch();
    const killed = session.kill();
    await daemonUp;
    await killed;
    expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED' });
    expect(machine.stops).toBe(1);
    expect(session.state).toBe('CONFIG');
    expect(session.drives).toEqual([drive]);
  });

  it('gives its qemu, which has no data to lose, no more time than a kill does', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine('1.54.1');
    (await launcher.request()).succeed(machine);
    await quiet();
    await session.kill();
    expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED' });
    expect(machine.graces).toEqual([1000]);
  });

  it('no longer waits for the exit that would have explained its failure', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine('1.54.1');
    const end = gate();
    machine.ending = end.passed;
    (await launcher.request()).succeed(machine);
    await quiet();
    machine.daemon.die();
    await quiet();
    expect(machine.graces).toEqual([undefined]);
    const killed = session.kill();
    expect(machine.graces).toEqual([undefined, 1000]);
    end.open();
    await killed;
    expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED' });
  });

  it('by a deletion while the previous appliance is still ending, which waits for both', async () => {
    const { session, machine } = await launched();
    const end = gate();
    machine.ending = end.passed;
    void session.kill();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    let isClosed = false;
    const closed = session.close().then(() => {
      isClosed = true;
    });
    expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED' });
    await quiet();
    expect(isClosed).toBe(false);
    end.open();
    await closed;
  });

  it('reports why the appliance died while its version was being determined', async () => {
    const { session, launcher } = testSession();
    session.addDrive(drive, 'add_drive');
    const up = failureOf(session.launch(never));
    const machine = new FakeMachine(undefined);
    (await launcher.request()).succeed(machine);
    await machine.daemon.launch();
    await machine.daemon.nextCall();
    machine.die({ exitCode: 3 });
    expect(await up).toMatchObject({ reason: 'LAUNCH_FAILED', message: expect.stringContaining('qemu ended with 3') });
  });
});

describe('a drive that is late', () => {
  it('is not added to the next appliance if its own was killed', async () => {
    const { session, machine, launcher } = await launched();
    const attach = gate();
    machine.drives.before = () => attach.passed;
    const added = session.attachDrive({ ...drive, label: 'late' }, 'add_drive', never).catch((error: unknown) => error);
    await quiet();
    await session.kill();
    attach.open();
    await added;
    expect(session.drives).toEqual([]);
    expect([session.hasDrive(0), session.hasDrive(1)]).toEqual([false, false]);
    await launch(session, launcher);
    expect(launcher.requests.at(-1)?.config.drives).toEqual([drive]);
  });

  it('is not removed from the next appliance if its own was killed', async () => {
    const { session, machine, launcher } = await launched();
    await session.attachDrive({ ...drive, label: 'hot' }, 'add_drive', never);
    const detach = gate();
    machine.drives.before = () => detach.passed;
    const removed = session.removeDrive('hot', 'remove_drive', never).catch((error: unknown) => error);
    await quiet();
    await session.kill();
    session.addDrive(drive, 'add_drive');
    await launch(session, launcher);
    detach.open();
    await removed;
    expect(session.drives).toEqual([drive, drive]);
  });

  it('is refused if the session was deleted meanwhile', async () => {
    const { session } = testSession();
    await session.close();
    for (const failure of [
      thrownBy(() => session.addDrive(drive, 'add_drive')),
      thrownBy(() => session.addDrives([drive], 'add_domain')),
      await failureOf(session.attachDrive(drive, 'add_drive', never)),
      await failureOf(session.removeDrive('a', 'remove_drive', never)),
      await failureOf(session.launch(never)),
    ])
      expect(failure).toMatchObject({ reason: 'SESSION_UNKNOWN' });
  });
});

describe('an unused session', () => {
  /** A registry whose sweeps the test triggers. */
  function registryOf(session: Session): { readonly ended: string[]; sweep(afterMs: number): Promise<void> } {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'performance'] });
    const ended: string[] = [];
    const logger = { ...silentLogger, info: (message: string) => void ended.push(message) };
    new SessionRegistry(10, logger).add(session.id, { identity: undefined }, () => session);
    session.touch();
    return { ended, sweep: (afterMs) => jest.advanceTimersByTimeAsync(afterMs) };
  }

  it('ends once, however long it takes', async () => {
    const { session, machine, daemon } = await launched();
    const end = gate();
    machine.ending = end.passed;
    const { ended, sweep } = registryOf(session);
    await sweep(61_000);
    expect(session.state).toBe('STOPPING');
    await daemon.reply(await daemon.nextCall());
    await sweep(30_000);
    end.open();
    await sweep(1000);
    expect(session.state).toBe('CLOSED');
    expect(ended).toEqual(['session ended']);
  });

  it('is in use during a call out of turn', async () => {
    const { session } = testSession();
    const { sweep } = registryOf(session);
    const work = gate();
    const created = session.performOutOfTurn(action('disk_create'), {}, () => work.passed);
    await sweep(600_000);
    expect(session.state).toBe('CONFIG');
    expect(session.expireTime).toBeUndefined();
    work.open();
    await created;
    await sweep(59_000);
    expect(session.state).toBe('CONFIG');
    await sweep(2000);
    expect(session.state).toBe('CLOSED');
  });

  it('does not end while it is launched', async () => {
    const { session, launcher } = testSession({ launchTimeoutMs: 3_600_000 });
    session.addDrive(drive, 'add_drive');
    const { sweep } = registryOf(session);
    const up = failureOf(session.launch(never));
    await sweep(600_000);
    expect(session.state).toBe('LAUNCHING');
    (await launcher.request()).fail(new GuestfsError('QEMU_FAILED', ''));
    await up;
  });
});
