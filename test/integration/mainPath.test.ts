/**
 * The main job, end to end: a client makes a file system on an image and fills it; then the
 * image is read by other tools.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { beforeAll, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { Accelerator, LaunchKind, SessionState } from '../../gen/proto/guestfs/v1/session.js';
import { SERVER_VERSION } from '../../src/common/version.js';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage, run } from '../support/diskImages.js';
import { serverForTests } from '../support/scene.js';
import { imageDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SECTOR = 512;
const UPLOAD_SIZE = 16 * MEBIBYTE;
const ROOT_SIZE = 96;

/** `bytes` in pieces of `size`. */
function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

describeWithAppliance('a session on a disk image', () => {
  const scene = serverForTests();
  const contents = randomBytes(UPLOAD_SIZE);
  const checksum = createHash('sha256').update(contents).digest('hex');
  let image: string;
  let session: SessionClient;

  beforeAll(() => {
    image = emptyImage(join(scene.server.images, 'disk.img'), 200);
  });

  it('is created with the image attached, and waits for its launch', async () => {
    const created = await scene.client.createSession({
      session_id: 'main-path',
      drives: [imageDrive('disk.img')],
      labels: new Map([['purpose', 'test']]),
    });
    expect(created).toMatchObject({
      id: 'main-path',
      state: SessionState.CONFIG,
      drives: 1,
      accelerator: Accelerator.UNSPECIFIED,
      daemon_version: '',
    });
    session = new SessionClient(scene.client, created.id);
  });

  it('is launched, and reports how', async () => {
    await session.call('launch');
    const launched = await scene.client.getSession(session.id);
    expect(launched.state).toBe(SessionState.READY);
    expect([Accelerator.KVM, Accelerator.TCG]).toContain(launched.accelerator);
    expect([LaunchKind.COLD, LaunchKind.TEMPLATE]).toContain(launched.launch_kind);
    expect(launched.daemon_version).toMatch(/^1\.\d+\.\d+/);
    expect(launched.server_version).toBe(SERVER_VERSION);
    const { total, prepare, drives, qemu, boot } = launched.launch_timings ?? {};
    const milliseconds = [prepare, drives, qemu, boot].map(
      (step) => Number(step?.seconds) * 1000 + Number(step?.nanos) / 1e6,
    );
    expect(milliseconds.every((step) => step >= 0)).toBe(true);
    expect(milliseconds.reduce((sum, step) => sum + step)).toBeCloseTo(
      Number(total?.seconds) * 1000 + Number(total?.nanos) / 1e6,
      0,
    );
  });

  it('sees the drive', async () => {
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    expect(await session.call('blockdev_getsize64', { device: '/dev/sda' })).toBe(BigInt(200 * MEBIBYTE));
  });

  it('partitions it', async () => {
    const device = '/dev/sda';
    await session.call('part_init', { device, parttype: 'gpt' });
    await session.call('part_add', {
      device,
      prlogex: 'p',
      startsect: 2048n,
      endsect: BigInt(2048 + ROOT_SIZE * 2048 - 1),
    });
    await session.call('part_add', {
      device,
      prlogex: 'p',
      startsect: BigInt(2048 + ROOT_SIZE * 2048),
      endsect: -2048n,
    });
    await session.call('part_set_name', { device, partnum: 1, name: 'root' });
    expect(await session.call('list_partitions')).toEqual(['/dev/sda1', '/dev/sda2']);
    const [root] = (await session.call('part_list', { device })) as { part_start: bigint; part_size: bigint }[];
    expect(root).toMatchObject({ part_start: BigInt(MEBIBYTE), part_size: BigInt(ROOT_SIZE * MEBIBYTE) });
  });

  it('makes file systems, one of them on LVM, and mounts them', async () => {
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda1', label: 'ROOT' });
    await session.call('pvcreate', { device: '/dev/sda2' });
    await session.call('vgcreate', { volgroup: 'vg0', physvols: ['/dev/sda2'] });
    await session.call('lvcreate', { logvol: 'data', volgroup: 'vg0', mbytes: 64 });
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/vg0/data' });
    await session.call('mount', { mountable: '/dev/sda1', mountpoint: '/' });
    await session.call('mkdir', { path: '/data' });
    await session.call('mount', { mountable: '/dev/vg0/data', mountpoint: '/data' });
    expect(await session.call('mountpoints')).toEqual(
      new Map([
        ['/dev/sda1', '/'],
        ['/dev/vg0/data', '/data'],
      ]),
    );
  });

  it('uploads a file and follows the progress', async () => {
    const { events, cancel, ended } = await scene.client.subscribe(session.id, [
      EventType.PROGRESS,
      EventType.FINISHED,
    ]);
    // The daemon reports nothing in the first two seconds of a call, in which a fast transfer ends.
    const lastingUntilProgress = async function* (): AsyncGenerator<Buffer> {
      for (const [index, piece] of [...pieces(contents, 16 * 1024)].entries()) {
        if (index > 0 && !events.some(({ type }) => type === EventType.PROGRESS)) await setTimeout(5);
        yield piece;
      }
    };
    await session.upload(
      'upload',
      { remotefilename: '/large.bin', progress_hint: BigInt(UPLOAD_SIZE) },
      lastingUntilProgress(),
    );
    await session.call('ping_daemon');
    cancel();
    await expect(ended).rejects.toMatchObject({ code: 1 });
    const progress = events.flatMap((event) => (event.detail?.$case === 'progress' ? [event.detail.value] : []));
    expect(progress.length).toBeGreaterThan(0);
    expect(
      progress.every(
        ({ action, procedure, total }) => action === 'upload' && procedure === 66 && total === BigInt(UPLOAD_SIZE),
      ),
    ).toBe(true);
    const positions = progress.map(({ position }) => position);
    expect(positions).toEqual([...positions].sort((one, other) => (one < other ? -1 : 1)));
    // All of it arrived before the call was answered.
    const finished = events.findIndex(
      (event) => event.detail?.$case === 'call' && event.detail.value.action === 'upload',
    );
    expect(events.slice(0, finished).filter((event) => event.type === EventType.PROGRESS)).toHaveLength(
      progress.length,
    );
  });

  it('has in the guest what was uploaded', async () => {
    expect(await session.call('filesize', { file: '/large.bin' })).toBe(BigInt(UPLOAD_SIZE));
    expect(await session.call('checksum', { csumtype: 'sha256', path: '/large.bin' })).toBe(checksum);
    const downloaded = await session.download('download', { remotefilename: '/large.bin' });
    expect(downloaded.equals(contents)).toBe(true);
  });

  it('writes and lists small files, and reads their status', async () => {
    await session.call('mkdir_p', { path: '/etc/deep/deeper' });
    await session.call('write', { path: '/etc/hostname', content: Buffer.from('guest\n') });
    await session.call('write_append', { path: '/etc/hostname', content: Buffer.from('more\n') });
    await session.call('ln_s', { target: 'hostname', linkname: '/etc/link' });
    await session.call('chmod', { mode: 0o640, path: '/etc/hostname' });
    await session.call('chown', { owner: 10, group: 20, path: '/etc/hostname' });
    await session.call('write', { path: '/data/on-lvm', content: Buffer.from('volume') });
    expect(await session.call('ls', { directory: '/etc' })).toEqual(['deep', 'hostname', 'link']);
    expect(await session.call('find', { directory: '/etc' })).toEqual(['/deep', '/deep/deeper', '/hostname', '/link']);
    expect(await session.call('cat', { path: '/etc/hostname' })).toBe('guest\nmore\n');
    expect(await session.call('statns', { path: '/etc/hostname' })).toMatchObject({
      st_size: 11n,
      st_uid: 10n,
      st_gid: 20n,
      st_mode: 0o100640n,
    });
  });

  it('is deleted, with all its processes', async () => {
    await scene.client.deleteSession(session.id);
    expect(scene.server.machines()).toEqual([]);
    await expect(scene.client.getSession(session.id)).rejects.toMatchObject({ code: 5 });
  });

  it('leaves a partition table that other tools read', () => {
    expect(run('sgdisk', '--verify', image)).toContain('No problems found');
    const table = run('sgdisk', '--print', image);
    expect(table).toMatch(new RegExp(`^ +1 +2048 +${2048 + ROOT_SIZE * 2048 - 1} .* root$`, 'm'));
    expect(table).toMatch(new RegExp(`^ +2 +${2048 + ROOT_SIZE * 2048} `, 'm'));
  });

  it('leaves a clean file system with exactly the requested content', () => {
    expect(run('e2fsck', '-f', '-n', `${image}?offset=${MEBIBYTE}`)).toMatch(/^ROOT: \d+\/\d+ files/m);
    const inRoot = (command: string): string => debugfs(image, MEBIBYTE, command);
    const names = (directory: string): string[] =>
      inRoot(`ls -p ${directory}`)
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => line.split('/')[5] ?? '')
        .sort();
    expect(names('/')).toEqual(['.', '..', 'data', 'etc', 'large.bin', 'lost+found']);
    expect(names('/etc')).toEqual(['.', '..', 'deep', 'hostname', 'link']);
    expect(inRoot('cat /etc/hostname')).toBe('guest\nmore\n');
    expect(inRoot('stat /etc/hostname')).toMatch(/Mode: +0640[^]*User: +10 +Group: +20 /);
    expect(inRoot('stat /etc/link')).toContain('Fast link dest: "hostname"');
    const copy = join(scene.server.images, 'large.bin');
    inRoot(`dump /large.bin ${copy}`);
    expect(createHash('sha256').update(readFileSync(copy)).digest('hex')).toBe(checksum);
  });

  it('leaves the logical volume with its file, unmounted', () => {
    const start = (2048 + ROOT_SIZE * 2048) * SECTOR;
    const bytes = readFileSync(image).subarray(start);
    expect(bytes.toString('latin1', SECTOR, SECTOR + 8)).toBe('LABELONE');
    expect(bytes.toString('latin1', 0, MEBIBYTE)).toMatch(/vg0 \{[^]*data \{/);
    // The volume is the first of the group: its extents begin where the data does.
    const extents = Number(/pe_start = (\d+)/.exec(bytes.toString('latin1', 0, MEBIBYTE))?.[1]) * SECTOR;
    expect(run('e2fsck', '-f', '-n', `${image}?offset=${start + extents}`)).toContain('files');
    expect(debugfs(image, start + extents, 'cat /on-lvm')).toBe('volume');
  });
});
