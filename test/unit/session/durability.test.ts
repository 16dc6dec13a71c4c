/** Calls that guarantee, when they succeed, that data has reached the images: they ask qemu whether it has. */
import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { sync } from '../../../gen/calls/filesystem.js';
import { failureOf } from '../../fakes/connected.js';
import { eventually } from '../../support/eventually.js';
import type { FakeDaemon, ReceivedCall } from '../../fakes/fakeDaemon.js';
import { action, drive, launch, launched, never, type LaunchedSession } from '../../fakes/sessions.js';

/** A session with a writable drive, /dev/sdb. */
async function written(): Promise<LaunchedSession> {
  const one = await launched();
  await one.session.attachDrive({ ...drive, readonly: false, label: 'data' }, 'add_drive', never);
  return one;
}

/** Calls an action as if it had no arguments; the daemon replies that it succeeded. */
async function call({ session, daemon }: LaunchedSession, name: string): Promise<unknown> {
  const done = session.perform(action(name), {}, never, (one) => one.call({ ...sync, action: name }, {}));
  done.catch(() => undefined);
  await daemon.reply(await daemon.nextCall());
  if (session.drives.some(({ readonly }) => !readonly) && action(name).promisesDurability === 'synced')
    await daemon.reply(await syncOf(daemon));
  return done;
}

/** The next call, which must be a sync. */
async function syncOf(daemon: FakeDaemon): Promise<ReceivedCall> {
  const next = await daemon.nextCall();
  expect(next.procedure).toBe(sync.procedure);
  return next;
}

const promising = allActions.filter((one) => one.promisesDurability !== undefined).map(({ name }) => name);

describe('actions that promise durability', () => {
  it('are those that flush', () => {
    expect(promising.sort()).toEqual([
      'blockdev_flushbufs',
      'btrfs_filesystem_sync',
      'cryptsetup_close',
      'luks_close',
      'remount',
      'sync',
      'umount',
      'umount_all',
    ]);
  });

  it('are followed by a sync, unless they are one', () => {
    const own = promising.filter((name) => action(name).promisesDurability === 'flushed');
    expect(own).toEqual(['sync']);
  });

  it('fail when the sync fails', async () => {
    const { session, daemon } = await written();
    const done = failureOf(
      session.perform(action('umount'), {}, never, (one) => one.call({ ...sync, action: 'umount' }, {})),
    );
    await daemon.reply(await daemon.nextCall());
    await daemon.fail(await syncOf(daemon), 'EIO', 'sync: Input/output error');
    expect(await done).toMatchObject({ reason: 'EIO' });
  });

  it.each(promising)('%s succeeds when everything was written', async (name) => {
    await call(await written(), name);
  });

  it.each(promising)('%s fails when the host failed to write, and names the drive', async (name) => {
    const one = await written();
    one.machine.drives.failed.set(1, 3);
    expect(await failureOf(call(one, name))).toMatchObject({
      reason: 'EIO',
      message: expect.stringMatching(/^3 writes to \/dev\/sdb \(data\) failed/),
      details: { metadata: { device: '/dev/sdb', failed_writes: '3' } },
    });
  });

  it('fail with ENOSPC when the host has no space left', async () => {
    const one = await written();
    one.machine.drives.failed.set(1, 1);
    one.machine.drives.noSpace = true;
    expect(await failureOf(call(one, 'sync'))).toMatchObject({ reason: 'ENOSPC' });
  });

  it('fail when qemu does not answer', async () => {
    const one = await written();
    one.machine.drives.before = () => Promise.reject(new Error('qemu did not answer within 60 s'));
    expect(await failureOf(call(one, 'sync'))).toMatchObject({
      reason: 'QEMU_FAILED',
      message: expect.stringContaining('did not answer'),
    });
  });

  it('fail when a drive that is discarded with the session lacks data as well', async () => {
    const one = await launched();
    one.machine.drives.failed.set(0, 2);
    expect(await failureOf(call(one, 'sync'))).toMatchObject({
      reason: 'EIO',
      message: "2 writes to /dev/sda failed on the server's host: the drive lacks some of the data that was written",
    });
  });
});

describe('an image that is changed on the host', () => {
  const changed = async (): Promise<LaunchedSession> => {
    const one = await written();
    one.machine.drives.changed.set(1, { change: 'truncated', subject: "image 'a.img'" });
    return one;
  };
  const reported = {
    reason: 'IMAGE_CHANGED',
    message: expect.stringMatching(/^image 'a.img' of \/dev\/sdb \(data\) was truncated on the server's host while/),
    details: { metadata: { device: '/dev/sdb', change: 'truncated' } },
  };

  it.each(promising)('is reported by %s', async (name) => {
    expect(await failureOf(call(await changed(), name))).toMatchObject(reported);
  });

  it('is reported by remove_drive, which removes the drive', async () => {
    const one = await changed();
    expect(await failureOf(one.session.removeDrive('data', 'remove_drive', never))).toMatchObject(reported);
    expect(one.session.drives).toHaveLength(1);
  });

  it.each(['shutdown', 'close'] as const)('is reported by the end of its session: %s', async (end) => {
    const one = await changed();
    const ended = failureOf(one.session[end]());
    await one.daemon.reply(await one.daemon.nextCall());
    expect(await ended).toMatchObject(reported);
  });

  it('is not looked for by other actions', async () => {
    await call(await changed(), 'ping_daemon');
  });
});

it('the end of a session does not ask qemu if nothing that is kept was written', async () => {
  const { session, machine, daemon } = await launched();
  machine.drives.before = () => Promise.reject(new Error('asked'));
  const ended = session.shutdown();
  await daemon.reply(await daemon.nextCall());
  await ended;
});

it('other actions do not ask qemu', async () => {
  const one = await written();
  one.machine.drives.before = () => Promise.reject(new Error('asked'));
  await call(one, 'ping_daemon');
});

describe('an appliance that ends unexpectedly while no call is in progress', () => {
  const LOST = {
    reason: 'OUTCOME_UNKNOWN',
    message: expect.stringMatching(/unwritten data is lost \(\/dev\/sdb/),
  };
  const dead = async (...calls: readonly string[]): Promise<LaunchedSession> => {
    const one = await written();
    for (const name of calls) await call(one, name);
    one.machine.die();
    await eventually(() => one.session.state === 'CONFIG');
    return one;
  };

  it('makes the deletion of its session fail, which would otherwise promise that everything is written', async () => {
    const { session } = await dead('touch');
    expect(await failureOf(session.close())).toMatchObject(LOST);
    expect(session.state).toBe('CLOSED');
  });

  it('makes a shutdown fail, once', async () => {
    const { session } = await dead('touch');
    expect(await failureOf(session.shutdown())).toMatchObject(LOST);
    await session.shutdown();
    await session.close();
  });

  it.each([
    ['nothing was changed', []],
    ['everything was synced', ['touch', 'umount']],
  ])('is no loss if %s', async (_what, calls) => {
    await (await dead(...calls)).session.close();
  });

  it('is no loss if no image was writable', async () => {
    const one = await launched();
    await call(one, 'touch');
    one.machine.die();
    await eventually(() => one.session.state === 'CONFIG');
    await one.session.close();
  });

  it('is reported once: a call that failed has told', async () => {
    const one = await written();
    await call(one, 'touch');
    const failed = failureOf(one.session.perform(action('touch'), {}, never, (daemon) => daemon.call(sync, {})));
    await one.daemon.nextCall();
    one.machine.die();
    expect(await failed).toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
    await one.session.close();
  });

  it('is what its client wanted if it was killed', async () => {
    const one = await written();
    await call(one, 'touch');
    await one.session.kill();
    await one.session.close();
  });

  it('is forgotten when the session is launched again', async () => {
    const one = await dead('touch');
    const { daemon } = await launch(one.session, one.launcher);
    const closed = one.session.close();
    await daemon.reply(await daemon.nextCall());
    await closed;
  });
});
