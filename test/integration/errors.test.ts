/** Errors of the daemon: each errno, as it really happens, becomes a status that a program can act on. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { SessionState } from '../../gen/proto/guestfs/v1/session.js';
import type { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { argumentsOf, failureOf, imageDrive, scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
/** What clients can be sure to get of an error, bytes. */
const ERROR_LIMIT = 4096;

interface Case {
  readonly reason: string;
  readonly code: status;
  readonly action: string;
  readonly request: object;
  /** Part of the daemon's own words. */
  readonly text: RegExp;
}

const row = (reason: string, code: status, action: string, request: object, text: RegExp): Case => ({
  reason,
  code,
  action,
  request,
  text,
});

const CASES: readonly Case[] = [
  row('ENOENT', status.NOT_FOUND, 'cat', { path: '/missing' }, /\/missing: No such file or directory/),
  row('ENODATA', status.NOT_FOUND, 'getxattr', { path: '/file', name: 'user.missing' }, /No data available/),
  row('EEXIST', status.ALREADY_EXISTS, 'mkdir', { path: '/directory' }, /directory: File exists/),
  row(
    'EINVAL',
    status.INVALID_ARGUMENT,
    'rename',
    { oldpath: '/directory', newpath: '/directory/inside' },
    /Invalid argument/,
  ),
  row('ENAMETOOLONG', status.INVALID_ARGUMENT, 'touch', { path: `/${'x'.repeat(256)}` }, /File name too long/),
  row('EPERM', status.PERMISSION_DENIED, 'rm', { path: '/immutable' }, /Operation not permitted/),
  row('EACCES', status.PERMISSION_DENIED, 'cat', { path: '/small/device' }, /Permission denied/),
  row(
    'ENOSPC',
    status.RESOURCE_EXHAUSTED,
    'fallocate64',
    { path: '/small/large', len: BigInt(64 * MEBIBYTE) },
    /No space left on device/,
  ),
  row(
    'ENOSPC',
    status.RESOURCE_EXHAUSTED,
    'fill',
    { c: 1, len: 32 * MEBIBYTE, path: '/small/large' },
    /No space left on device/,
  ),
  row(
    'ENOTSUP',
    status.UNIMPLEMENTED,
    'setxattr',
    { xattr: 'user.key', val: 'value', vallen: 5, path: '/fat/file' },
    /Operation not supported/,
  ),
  row('ENOTEMPTY', status.FAILED_PRECONDITION, 'rmdir', { path: '/directory' }, /Directory not empty/),
  row('EBUSY', status.FAILED_PRECONDITION, 'rmdir', { path: '/small' }, /Device or resource busy/),
  row('EROFS', status.FAILED_PRECONDITION, 'touch', { path: '/readonly/new' }, /Read-only file system/),
  row('ENOTDIR', status.FAILED_PRECONDITION, 'touch', { path: '/file/inside' }, /Not a directory/),
  row('EISDIR', status.FAILED_PRECONDITION, 'pread', { path: '/directory', count: 1, offset: 0n }, /Is a directory/),
  row('ELOOP', status.FAILED_PRECONDITION, 'cat', { path: '/loop' }, /Too many levels of symbolic links/),
  row(
    'EXDEV',
    status.FAILED_PRECONDITION,
    'rename',
    { oldpath: '/file', newpath: '/small/file' },
    /Invalid cross-device link/,
  ),
  row(
    'EIO',
    status.DATA_LOSS,
    'pread_device',
    { device: '/dev/mapper/broken', count: 512, offset: 0n },
    /Input\/output error/,
  ),
  row('DAEMON_ERROR', status.UNKNOWN, 'command', { arguments: ['/bin/true'] }, /./),
  row('DAEMON_ERROR', status.UNKNOWN, 'chmod', { mode: -1, path: '/file' }, /mode/),
  row('DAEMON_ERROR', status.UNKNOWN, 'debug', { subcmd: 'no-such-command' }, /^debug help 0|use 'debug help 0'/),
];

/** Bytes of an error on its way: its message, and its details in base64. */
function sizeOf({ details, trailers }: GuestfsRpcError): number {
  const [trailer] = trailers.get('grpc-status-details-bin');
  return encodeURI(details).length + Buffer.from(trailer ?? '').toString('base64').length;
}

describeWithAppliance('an error of the daemon', () => {
  const scene = serverForTests({ flags: ['--debug-service'] });
  let session: SessionClient;
  const call = (action: string, request: object = {}): Promise<unknown> => session.call(action, request);
  const shell = (command: string): Promise<unknown> => call('debug', { subcmd: 'sh', extraargs: [command] });

  beforeAll(async () => {
    session = await launchSession(scene.client, [
      scratchDrive(64 * MEBIBYTE),
      scratchDrive(8 * MEBIBYTE),
      scratchDrive(16 * MEBIBYTE),
      scratchDrive(8 * MEBIBYTE),
    ]);
    await call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await call('mkfs', { fstype: 'ext4', device: '/dev/sdb' });
    await call('mkfs', { fstype: 'vfat', device: '/dev/sdc' });
    await call('mkfs', { fstype: 'ext2', device: '/dev/sdd' });
    await call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    for (const path of ['/directory', '/small', '/fat', '/readonly']) await call('mkdir', { path });
    await call('mount_options', { options: 'nodev', mountable: '/dev/sdb', mountpoint: '/small' });
    await call('mount', { mountable: '/dev/sdc', mountpoint: '/fat' });
    await call('mount_ro', { mountable: '/dev/sdd', mountpoint: '/readonly' });
    for (const path of ['/file', '/directory/file', '/immutable', '/fat/file']) await call('touch', { path });
    await call('set_e2attrs', { file: '/immutable', attrs: 'i' });
    await call('ln_s', { target: 'loop', linkname: '/loop' });
    await call('mknod_c', { mode: 0o666, devmajor: 1, devminor: 5, path: '/small/device' });
    await shell("dmsetup create broken --table '0 2048 error'");
  });
  afterEach(async () => {
    await call('ping_daemon');
    expect((await scene.client.getSession(session.id)).state).toBe(SessionState.READY);
  });

  it.each(CASES)('$reason, of $action', async ({ reason, code, action, request, text }) => {
    const failure = await session.failure(action, request);
    expect({ reason: failure.info?.reason, code: failure.code }).toEqual({ reason, code });
    expect(failure.info).toMatchObject({
      domain: 'guestfs',
      metadata: { action, state: 'READY' },
      fields: [],
      retryAfterMs: undefined,
    });
    expect(failure.details).toMatch(text);
  });

  it("in the middle of an upload has the daemon's message, and no errno", async () => {
    const failure = await failureOf(
      session.upload(
        'upload',
        { remotefilename: '/small/large' },
        Array.from({ length: 32 }, () => Buffer.alloc(MEBIBYTE / 2, 1)),
      ),
    );
    expect(failure).toMatchObject({
      code: status.UNKNOWN,
      details: 'write error: /small/large',
      info: { reason: 'DAEMON_ERROR', domain: 'guestfs', metadata: { action: 'upload', state: 'READY' } },
    });
    await call('rm', { path: '/small/large' });
  });

  it('EINTR, of a transfer that user_cancel ends', async () => {
    const events = await scene.client.subscribe(session.id, [EventType.STARTED]);
    const { stream, done } = session.openUpload('upload');
    stream.write(argumentsOf('upload', { remotefilename: '/cancelled' }));
    stream.write({ payload: { $case: 'chunk', value: Buffer.alloc(100_000) } });
    await events.callEvent(EventType.STARTED, 'upload');
    await call('user_cancel');
    expect(await failureOf(done)).toMatchObject({
      code: status.CANCELLED,
      info: { reason: 'EINTR', metadata: { action: 'upload' } },
    });
    stream.end();
    events.cancel();
  });

  it('about something in use has the message of the failed tool', async () => {
    const failure = await session.failure('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    expect(failure).toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringContaining('is mounted'),
      info: { reason: 'DAEMON_ERROR' },
    });
    expect(await session.failure('umount', { pathordevice: '/' })).toMatchObject({
      details: expect.stringMatching(/umount: .*busy/),
    });
  });

  it('of a group that no daemon has names it', async () => {
    expect(await session.failure('available', { groups: ['no-such-group'] })).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('no-such-group'),
      info: { reason: 'BAD_ARGUMENT', fields: ['groups'] },
    });
  });

  describe('with a long text', () => {
    it.each([1000, 10_000, 70_000])('of %i bytes is cut to what every client can receive', async (length) => {
      const failure = await session.failure('debug', { subcmd: 'error', extraargs: [String(length)] });
      expect(failure).toMatchObject({
        code: status.FAILED_PRECONDITION,
        info: { reason: 'EROFS', metadata: { action: 'debug', state: 'READY' } },
      });
      expect(failure.details).toMatch(/aaa/);
      expect(sizeOf(failure)).toBeLessThan(ERROR_LIMIT);
      if (length === 1000) expect(failure.details).toContain('a'.repeat(length));
    });

    it('of other alphabets is, too', async () => {
      await call('mkdir_p', { path: `/${'ü'.repeat(100)}/${'漢'.repeat(80)}` });
      const path = `/${'ü'.repeat(100)}/${'漢'.repeat(80)}/${'\uefe9'.repeat(200)}`;
      const failure = await session.failure('cat', { path });
      expect(failure).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'ENOENT' } });
      expect(sizeOf(failure)).toBeLessThan(ERROR_LIMIT);
    });

    it('is found in the log', async () => {
      expect(await scene.client.getLog(session.id)).toMatch(/a{32768}/);
    });
  });
});

describeWithAppliance('the error', () => {
  const scene = serverForTests();

  it('of a mount for writing says that Windows is hibernated', async () => {
    const session = await launchSession(scene.client, [scratchDrive(64 * MEBIBYTE)]);
    const hibernated = { code: status.FAILED_PRECONDITION, info: { reason: 'NTFS_HIBERNATED' } };
    await session.call('mkfs', { fstype: 'ntfs', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    const state = Buffer.alloc(8192);
    state.write('hibr');
    await session.call('write', { path: '/hiberfil.sys', content: state });
    await session.call('umount_all');
    for (const [action, options] of [
      ['mount', {}],
      ['mount_options', { options: 'noatime' }],
      ['mount_vfs', { options: '', vfstype: 'ntfs-3g' }],
    ] as const) {
      const request = { mountable: '/dev/sda', mountpoint: '/', ...options };
      expect(await session.failure(action, request)).toMatchObject({
        ...hibernated,
        details: expect.stringMatching(/^\/dev\/sda is not mounted: Windows is hibernated/),
      });
      expect(await session.call('mountpoints')).toEqual(new Map());
    }
    await session.call('mount_ro', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('umount_all');
    await session.call('mount_options', { options: 'remove_hiberfile', mountable: '/dev/sda', mountpoint: '/' });
    await session.call('touch', { path: '/writable' });
    await scene.client.deleteSession(session.id);
  });

  it('of a mount says what the kernel says, and what to do about two of the same UUID', async () => {
    const session = await launchSession(
      scene.client,
      [320, 320, 1].map((size) => scratchDrive(size * MEBIBYTE)),
    );
    await session.call('mkfs', { fstype: 'xfs', device: '/dev/sda' });
    await session.call('copy_device_to_device', { src: '/dev/sda', dest: '/dev/sdb' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('mkdir', { path: '/other' });
    const twice = { mountable: '/dev/sdb', mountpoint: '/other' };
    const failure = await session.failure('mount', twice);
    expect(failure.details).toMatch(/the last lines of the kernel's log:[^]*duplicate UUID[^]*option nouuid/);
    await session.call('mount_options', { ...twice, options: 'nouuid' });
    const blank = await session.failure('mount', { mountable: '/dev/sdc', mountpoint: '/other' });
    expect(blank.details).not.toContain('nilfs');
    await scene.client.deleteSession(session.id);
  });

  it('about two volume groups of the same name says how to hide one', async () => {
    const session = await launchSession(scene.client, [scratchDrive(32 * MEBIBYTE), scratchDrive(32 * MEBIBYTE)]);
    for (const device of ['/dev/sda', '/dev/sdb']) {
      await session.call('lvm_set_filter', { devices: [device] });
      await session.call('pvcreate', { device });
      await session.call('vgcreate', { volgroup: 'vg', physvols: [device] });
    }
    await session.call('lvm_clear_filter');
    const failure = await session.failure('lvcreate', { logvol: 'lv', volgroup: 'vg', mbytes: 4 });
    expect(failure.details).toContain('hide the drives of one of them with lvm_set_filter');
    await scene.client.deleteSession(session.id);
  });

  it('of a key slot that needs more memory than there is names memsize', async () => {
    const path = emptyImage(join(scene.server.images, 'luks.img'), 40);
    const derivation = ['--pbkdf', 'argon2id', '--pbkdf-memory', '1500000', '--pbkdf-parallel', '4'];
    const options = ['-q', '--type', 'luks2', ...derivation, '--pbkdf-force-iterations', '4', '--key-file', '-'];
    execFileSync('cryptsetup', ['luksFormat', ...options, path], { input: 'secret' });
    const session = await launchSession(scene.client, [imageDrive(path, { writable: false })]);
    expect(await session.failure('cryptsetup_open', { device: '/dev/sda', key: 'secret', mapname: 'c' })).toMatchObject(
      {
        code: status.RESOURCE_EXHAUSTED,
        details: expect.stringContaining('memsize'),
      },
    );
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    await scene.client.deleteSession(session.id);
  });

  it('about a drive names the blocksize that its GPT was written for', async () => {
    const path = join(scene.server.images, 'large-sectors.img');
    emptyImage(path, 16);
    const { client } = scene;
    const large = await launchSession(client, [imageDrive(path, { blocksize: 4096 })]);
    await large.call('part_disk', { device: '/dev/sda', parttype: 'gpt' });
    await client.deleteSession(large.id);
    const session = await launchSession(client, [imageDrive(path, { writable: false })]);
    const hint = '/dev/sda has a GPT for sectors of 4096 bytes: add the drive with blocksize 4096';
    for (const [action, request] of [
      ['part_list', { device: '/dev/sda' }],
      ['part_get_parttype', { device: '/dev/sda' }],
      ['mount_ro', { mountable: '/dev/sda', mountpoint: '/' }],
    ] as const)
      expect(await session.failure(action, request)).toMatchObject({ details: expect.stringContaining(hint) });
    const events = await client.subscribe(session.id, [EventType.WARNING]);
    expect(await session.call('list_filesystems')).toEqual(new Map([['/dev/sda', 'unknown']]));
    const warning = await events.event(({ type }) => type === EventType.WARNING);
    expect(warning.detail).toEqual({ $case: 'message', value: hint });
    events.cancel();
    await events.ended.catch(() => undefined);
    await client.deleteSession(session.id);
  });
});
