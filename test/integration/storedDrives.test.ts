/** Images as people have them: in an OVA, encrypted in themselves, and on a backing file whose format they do not state. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from '@jest/globals';
import { LaunchKind } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { encryptedQcow2 } from '../support/encryptedImage.js';
import { alpineTree } from '../support/guests/alpine.js';
import { ext4Image } from '../support/guests/ext4Image.js';
import { launchAs } from '../support/launchKinds.js';
import { serverForTests } from '../support/scene.js';
import { tarArchive } from '../support/tarArchive.js';
import { failureOf, imageDrive, scratchDrive, SessionClient } from '../support/testClient.js';
import { overlayImage } from '../unit/images/scene.js';

const KEY = 'correct, horse; "battery" stäple';

describeWithAppliance('a drive', () => {
  const scene = serverForTests(() => ({
    flags: ['--allow', 'backing-files', '--allow', 'custom-qemu', '--log-level', 'debug', '--trace'],
  }));
  const path = (name: string): string => join(scene.server.images, name);
  const qemuImg = (...args: readonly string[]): void => void execFileSync('qemu-img', args, { stdio: 'pipe' });

  beforeAll(() => {
    ext4Image(path('raw'), alpineTree);
    qemuImg('convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', path('raw'), path('disk1'));
    qemuImg('convert', '-O', 'qcow2', path('raw'), path('disk2'));
    writeFileSync(
      path('machine.ova'),
      tarArchive([
        { name: 'machine.ovf', content: '<Envelope/>' },
        { name: 'machine-disk1.vmdk', content: readFileSync(path('disk1')) },
        { name: 'machine-disk2.qcow2', content: readFileSync(path('disk2')) },
      ]),
    );
    overlayImage(path('over.qcow2'), 'raw', null, '16M');
    encryptedQcow2(path('secret.qcow2'), '32M', KEY);
    chmodSync(path('secret.qcow2'), 0o666);
  });

  const ova = () => imageDrive('machine.ova', { format: undefined, writable: false });
  const encrypted = (key: string | undefined) => imageDrive('secret.qcow2', { format: 'qcow2', key });

  it('is each disk of an OVA, an image with its passphrase, or one whose backing format is stated', async () => {
    const session = await launchAs('template', scene, [
      ova(),
      encrypted(KEY),
      imageDrive('over.qcow2', { format: 'qcow2', writable: false, backing_formats: ['raw'] }),
      scratchDrive(1 << 20),
    ]);
    expect(await session.call('list_devices')).toEqual(['a', 'b', 'c', 'd', 'e'].map((letter) => `/dev/sd${letter}`));
    for (const device of ['/dev/sda', '/dev/sdb', '/dev/sdd']) {
      await session.call('mount_ro', { mountable: device, mountpoint: '/' });
      expect(await session.call('is_file', { path: '/etc/alpine-release', followsymlinks: true })).toBe(true);
      await session.call('umount_all');
    }
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sdc' });
    await session.call('mount', { mountable: '/dev/sdc', mountpoint: '/' });
    await session.call('write', { path: '/file', content: Buffer.from('kept') });
    expect(knownKeys()).toEqual([]);
    expect(await scene.client.getLog(session.id)).not.toContain('stäple');
    await scene.client.deleteSession(session.id);
    expect(readFileSync(path('secret.qcow2')).includes('kept')).toBe(false);

    // The same drives in a machine that is booted.
    const { id } = await scene.client.createSession({ drives: [scratchDrive(1 << 20), encrypted(KEY), ova()] });
    const booted = new SessionClient(scene.client, id);
    await booted.call('config', { hvparam: '-smbios', hvvalue: 'type=1,serial=by-config' });
    await booted.call('launch');
    expect((await scene.client.getSession(id)).launch_kind).toBe(LaunchKind.COLD);
    expect(knownKeys()).toEqual([]);
    await booted.call('mount', { mountable: '/dev/sdb', mountpoint: '/' });
    expect(await booted.call('cat', { path: '/file' })).toBe('kept');
    expect(await booted.call('vfs_type', { mountable: '/dev/sdd' })).toBe('ext4');
    await scene.client.deleteSession(id);
    expect(scene.server.log()).not.toContain('stäple');
  });

  /** The processes of machines, and places of theirs, that show the passphrase. */
  function knownKeys(): string[] {
    return scene.server
      .processes()
      .flatMap(({ pid }) => ['cmdline', 'environ'].map((name) => `/proc/${pid}/${name}`))
      .filter((file) => existsSync(file) && readFileSync(file).includes('stäple'));
  }

  it('is refused with a wrong passphrase, without one, or with one that it does not need', async () => {
    const failures: string[] = [];
    for (const drive of [encrypted('wrong'), encrypted(undefined), imageDrive('raw', { key: 'needless' })]) {
      const { info, details } = await failureOf(scene.client.createSession({ drives: [drive], launch: true }));
      expect(info?.reason).toBe('IMAGE_UNUSABLE');
      failures.push(details);
    }
    expect(failures).toEqual([
      expect.stringMatching(/image 'secret.qcow2' cannot be attached: Invalid password/),
      expect.stringContaining("image 'secret.qcow2' is encrypted in the qcow2 format with LUKS"),
      expect.stringContaining("image 'raw' is not encrypted"),
    ]);
    expect(failures.join() + scene.server.log()).not.toMatch(/needless|'wrong'|"wrong"/);
  });

  it('of an OVA is inspected, and added, as it is', async () => {
    emptyImage(path('blank.img'), 1);
    const report = await scene.client.inspect({
      drives: ['blank.img', 'machine.ova'].map((value) => ({
        source: { $case: 'path', value },
        format: undefined,
        blocksize: undefined,
        backing_formats: [],
      })),
      without_applications: true,
    });
    expect(report.flatMap(({ part }) => (part?.$case === 'system' ? [part.value.root] : []))).toEqual([
      '/dev/sdb',
      '/dev/sdc',
    ]);
    const { id } = await scene.client.createSession({});
    const session = new SessionClient(scene.client, id);
    expect(await failureOf(session.call('add_drive', { filename: path('machine.ova') }))).toMatchObject({
      info: { reason: 'IMAGE_UNUSABLE' },
      details: expect.stringContaining('attach it read-only'),
    });
    await session.call('add_drive', { filename: path('machine.ova'), readonly: true });
    expect((await scene.client.getSession(id)).drives).toBe(2);
    await scene.client.deleteSession(id);
  });
});
