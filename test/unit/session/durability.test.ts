/** Calls that guarantee, when they succeed, that data has reached the images: they ask qemu whether it has. */
import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { sync } from '../../../gen/calls/filesystem.js';
import { failureOf } from '../../fakes/connected.js';
import { action, drive, launched, never, type LaunchedSession } from '../../fakes/sessions.js';

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
  return done;
}

const promising = allActions.filter(({ promisesDurability }) => promisesDurability === true).map(({ name }) => name);

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
