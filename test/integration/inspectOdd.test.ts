/** Inspect: one odd thing never empties the report. */
import { join } from 'node:path';
import { truncateSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type {
  InspectDrive,
  InspectedImage,
  InspectedSystem,
  InspectRequest,
  InspectResponse,
  InspectWarning,
} from '../../gen/proto/guestfs/v1/inspection_report.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { alpineTree } from '../support/guests/alpine.js';
import { ext4Image, writeExt4 } from '../support/guests/ext4Image.js';
import { gptOf4096 } from '../support/guests/gptOf4096.js';
import { makeDirectories, mountAll, writeTree } from '../support/guests/guest.js';
import {
  azureLinux,
  distroless,
  flatcarUsr,
  immense,
  nameless,
  nixos,
  ostree,
  smallDebian,
  wolfi,
  wrongLines,
} from '../support/guests/oddSystems.js';
import { hiveOf } from '../support/guests/registryHive.js';
import { makeRpmDatabase } from '../support/guests/rpm.js';
import { keys, number, programHeaders, SOFTWARE, SYSTEM, text } from '../support/guests/windowsParts.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, type SessionClient } from '../support/testClient.js';

/** What a report says, by root. */
class Findings {
  constructor(readonly report: readonly InspectResponse[]) {}

  get image(): InspectedImage {
    const part = this.report[0]?.part;
    if (part?.$case !== 'image') throw new Error('the image does not come first');
    return part.value;
  }

  get systems(): InspectedSystem[] {
    return this.report.flatMap(({ part }) => (part?.$case === 'system' ? [part.value] : []));
  }

  system(root: string): InspectedSystem | undefined {
    return this.systems.find((one) => one.root === root);
  }

  applications(root: string): string[] {
    return this.report.flatMap(({ part }) =>
      part?.$case === 'applications' && part.value.root === root
        ? part.value.applications.map((one) => one.app2_name)
        : [],
    );
  }

  packageUrls(root: string): string[] {
    return this.report.flatMap(({ part }) =>
      part?.$case === 'applications' && part.value.root === root ? part.value.package_urls : [],
    );
  }

  /** Warnings about the image, or about the system at a root. */
  warnings(root?: string): InspectWarning[] {
    return this.report.flatMap(({ part, warnings }) => {
      const about = part?.$case === 'image' ? undefined : part?.value.root;
      return about === root ? warnings : [];
    });
  }
}

describeWithAppliance('Inspect of odd images', () => {
  // Some images are made with tools for which there is no action.
  const scene = serverForTests({ flags: ['--debug-service'] });
  const path = (name: string): string => join(scene.server.images, name);
  const drive = (name: string): InspectDrive => ({
    source: { $case: 'path', value: name },
    format: 'raw',
    blocksize: undefined,
    backing_formats: [],
  });
  const inspect = async (names: readonly string[], request: Partial<InspectRequest> = {}): Promise<Findings> =>
    new Findings(await scene.client.inspect({ drives: names.map(drive), ...request }));
  const build = async (
    images: Readonly<Record<string, number>>,
    fill: (session: SessionClient) => Promise<void>,
  ): Promise<void> => {
    for (const [name, mebibytes] of Object.entries(images)) emptyImage(path(name), mebibytes);
    const session = await launchSession(
      scene.client,
      Object.keys(images).map((name) => imageDrive(name)),
    );
    await fill(session);
    await scene.client.deleteSession(session.id);
  };

  describe('on many drives at once', () => {
    const names = {
      wrong: '/dev/sda',
      alpine: '/dev/sdb',
      distroless: '/dev/sdc',
      nixos: '/dev/sdd',
      ostree: '/dev/sde',
      flatcar: '/dev/sdf',
      wolfi: '/dev/sdg',
      azure: '/dev/sdh',
      nameless: '/dev/sdi',
      immense: '/dev/sdj',
    };
    let found: Findings;

    beforeAll(async () => {
      const database = makeRpmDatabase([
        { name: 'first', epoch: 3, version: '1.2', release: '4.azl3', summary: 'x', url: 'https://example.com' },
      ]);
      const trees = {
        wrong: smallDebian(['bash'], `/dev/root / ext4 defaults 0 1\n${wrongLines.join('\n')}\n`),
        alpine: alpineTree,
        distroless,
        nixos,
        ostree,
        flatcar: flatcarUsr,
        wolfi,
        azure: azureLinux(database),
        nameless,
        immense,
      };
      for (const [name, tree] of Object.entries(trees)) ext4Image(path(`${name}.img`), tree);
      found = await inspect(Object.keys(names).map((name) => `${name}.img`));
    });

    it('leaves out the lines of a configuration file that cannot be parsed, and says which', () => {
      const reasons = found.warnings().filter(({ reason }) => reason === 'MALFORMED_FILE');
      expect(reasons).toHaveLength(wrongLines.length);
      for (const [index, line] of wrongLines.entries()) {
        expect(reasons[index]?.message).toContain(`${names.wrong}: /etc/fstab, line ${index + 2},`);
        expect(reasons[index]?.message).toContain(line);
      }
      expect(found.system(names.wrong)).toMatchObject({ distro: 'debian', major_version: 13 });
      expect(found.applications(names.wrong)).toEqual(['bash']);
    });

    it('reports the sound systems beside it', () => {
      expect(found.system(names.alpine)).toMatchObject({ distro: 'alpinelinux', version: '3.20.3' });
      expect(found.applications(names.alpine)).toEqual(['busybox', 'musl']);
      expect(found.packageUrls(names.alpine)).toEqual([
        'pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.3',
        'pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.3',
      ]);
      expect(found.warnings(names.alpine)).toEqual([]);
    });

    it('describes a system that the daemon cannot inspect itself, and says why', () => {
      expect(found.warnings()).toContainEqual(
        expect.objectContaining({ action: 'inspect_os', message: expect.stringContaining(names.immense) }),
      );
      expect(found.system(names.immense)).toMatchObject({ product_name: 'Immense', distro: 'debian', arch: 'x86_64' });
      expect(found.applications(names.immense)).toEqual(['bash']);
    });

    it('finds systems without /etc/fstab', () => {
      expect(found.system(names.distroless)).toMatchObject({ product_name: 'Distroless', package_format: 'deb' });
      expect(found.applications(names.distroless)).toEqual(['base-files', 'tzdata']);
      expect(found.packageUrls(names.distroless)).toContain('pkg:deb/debian/tzdata@2025a-1?arch=all&distro=debian-12');
      expect(found.system(names.nixos)).toMatchObject({
        product_name: 'NixOS 25.05 (Warbler)',
        distro: 'nixos',
        major_version: 25,
        minor_version: 5,
        hostname: 'nix',
        arch: 'x86_64',
      });
    });

    it('finds systems in a directory, and those of which there is only /usr', () => {
      expect(found.system(names.ostree)).toMatchObject({
        product_name: 'Fedora CoreOS 41',
        directory: '/ostree/deploy/fedora-coreos/deploy/0123abcd.0',
        hostname: 'fcos',
        arch: 'x86_64',
        version: '41',
        support_end: '2025-12-15',
      });
      expect(found.system(names.flatcar)).toMatchObject({
        product_name: 'Flatcar Container Linux 4152.2.0',
        directory: '/usr',
        mountpoints: new Map([['/usr', names.flatcar]]),
        arch: 'x86_64',
      });
    });

    it('chooses the format of packages by the distribution or by the database', () => {
      expect(found.system(names.wolfi)).toMatchObject({ product_name: 'Wolfi', package_format: 'apk' });
      expect(found.applications(names.wolfi)).toEqual(['busybox', 'musl']);
      expect(found.system(names.azure)).toMatchObject({ distro: 'azurelinux', package_format: 'rpm' });
      expect(found.packageUrls(names.azure)).toEqual([
        'pkg:rpm/azurelinux/first@1.2-4.azl3?arch=noarch&distro=azurelinux-3.0&epoch=3',
      ]);
    });

    it('says why there are no applications', () => {
      for (const root of [names.nameless, names.nixos, names.ostree, names.flatcar])
        expect(found.warnings(root)).toContainEqual(
          expect.objectContaining({ field: 'applications', reason: expect.any(String), message: expect.any(String) }),
        );
    });
  });

  it('reads what is left of damaged partition tables', async () => {
    const start = 1 << 20;
    emptyImage(path('mbr.img'), 64);
    run('sh', '-c', `printf 'label: dos\\n,10M,83\\n,,83\\n' | sfdisk -q ${path('mbr.img')}`);
    writeExt4(path('mbr.img'), alpineTree, start, '10M');
    truncateSync(path('mbr.img'), 40 << 20);
    for (const name of ['copy.img', 'cut.img']) {
      emptyImage(path(name), 64);
      run('sgdisk', '-n1:2048:+10M', '-c', '1:first', '-n2:0:0', path(name));
      writeExt4(path(name), alpineTree, start, '10M');
    }
    run('dd', 'if=/dev/zero', `of=${path('copy.img')}`, 'bs=512', 'seek=1', 'count=1', 'conv=notrunc');
    truncateSync(path('cut.img'), 40 << 20);
    writeFileSync(path('4k.img'), gptOf4096(16));
    const found = await inspect(['mbr.img', 'copy.img', 'cut.img', '4k.img'], { without_applications: true });
    expect(found.systems.map(({ root }) => root)).toEqual(['/dev/sda1', '/dev/sdb1', '/dev/sdc1']);
    expect(found.image.partitions.map(({ partition }) => partition)).toEqual([
      '/dev/sda1',
      '/dev/sda2',
      '/dev/sdb1',
      '/dev/sdb2',
      '/dev/sdc1',
      '/dev/sdc2',
    ]);
    expect(found.image.partitions.find(({ partition }) => partition === '/dev/sdc1')).toMatchObject({ name: 'first' });
    const damages = found.warnings().filter(({ reason }) => reason === 'DAMAGED_TABLE');
    expect(damages.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^\/dev\/sda: .* partition 2:/),
        expect.stringMatching(/^\/dev\/sdb: the GPT at the start of the drive is damaged/),
        expect.stringMatching(/^\/dev\/sdc: .* partition 2:/),
        expect.stringMatching(/^\/dev\/sdd: .*blocksize 4096/),
      ]),
    );
    expect(damages).toHaveLength(4);
  });

  it('mounts the root that it found, whatever fstab says, and lists snapshots with their system', async () => {
    await build({ 'btrfs.img': 300 }, async (session) => {
      await session.call('mkfs_btrfs', { devices: ['/dev/sda'] });
      const uuid: string = await session.call('vfs_uuid', { mountable: '/dev/sda' });
      await mountAll(session, { '/': '/dev/sda' });
      for (const name of ['live', 'old']) {
        await session.call('btrfs_subvolume_create', { dest: `/${name}` });
        const tree = smallDebian([name], `UUID=${uuid} / btrfs subvol=live 0 0\n`);
        await writeTree(
          session,
          Object.fromEntries(Object.entries(tree).map(([file, one]) => [`/${name}${file}`, one])),
        );
      }
      for (const index of [1, 2])
        await session.call('btrfs_subvolume_snapshot', { source: '/live', dest: `/snapshot-${index}`, ro: true });
    });
    const found = await inspect(['btrfs.img']);
    const live = 'btrfsvol:/dev/sda/live';
    const old = 'btrfsvol:/dev/sda/old';
    expect(found.systems.map(({ root }) => root).sort()).toEqual([live, old]);
    expect([...(found.system(live)?.snapshots ?? [])].sort()).toEqual([
      'btrfsvol:/dev/sda/snapshot-1',
      'btrfsvol:/dev/sda/snapshot-2',
    ]);
    expect(found.applications(live)).toEqual(['live']);
    expect(found.applications(old)).toEqual(['old']);
    expect(found.system(old)?.mountpoints.get('/')).toBe(old);
    expect(found.warnings(live)).toEqual([]);
    expect(found.warnings(old)).toEqual([
      expect.objectContaining({
        field: 'mountpoints[/]',
        reason: 'FSTAB_DISAGREES',
        message: expect.stringContaining(live),
      }),
    ]);
  });

  it('reports what is there of groups with a missing disk', async () => {
    await build({ 'one.img': 400, 'two.img': 400 }, async (session) => {
      for (const device of ['/dev/sda', '/dev/sdb']) {
        await session.call('part_init', { device, parttype: 'gpt' });
        const ends = [2048n, 32n * 2048n, 96n * 2048n, 799n * 1024n];
        for (const [index, startsect] of ends.slice(0, -1).entries())
          await session.call('part_add', { device, prlogex: 'p', startsect, endsect: (ends[index + 1] ?? 0n) - 1n });
      }
      await session.call('pvcreate', { device: '/dev/sda1' });
      await session.call('vgcreate', { volgroup: 'vg', physvols: ['/dev/sda1'] });
      await session.call('lvcreate', { logvol: 'small', volgroup: 'vg', mbytes: 8 });
      await session.call('mkfs', { fstype: 'ext4', device: '/dev/vg/small' });
      await session.call('md_create', {
        name: 'r1',
        devices: ['/dev/sda2', '/dev/sdb2'],
        level: 'raid1',
        nrdevices: 2,
      });
      const [array]: readonly string[] = await session.call('list_md_devices');
      await session.call('mkfs', { fstype: 'ext4', device: array });
      await mountAll(session, { '/': array ?? '' });
      await writeTree(session, alpineTree);
      await session.call('umount_all');
      await session.call('md_stop', { md: array });
      await session.call('mkfs_btrfs', { devices: ['/dev/sda3', '/dev/sdb3'], datatype: 'raid1', metadata: 'raid1' });
      await mountAll(session, { '/': '/dev/sda3' });
      await writeTree(session, smallDebian(['mirrored'], '/dev/root / btrfs defaults 0 1\n'));
    });
    const found = await inspect(['one.img']);
    expect(found.image.filesystems.map(({ mountable, type }) => `${mountable} ${type}`)).toEqual(
      expect.arrayContaining(['/dev/sda3 btrfs', '/dev/vg/small ext4', expect.stringMatching(/^\/dev\/md\d+ ext4$/)]),
    );
    expect(found.warnings()).toContainEqual(
      expect.objectContaining({ reason: 'INCOMPLETE', message: expect.stringContaining('/dev/sda3') }),
    );
    expect(found.applications('/dev/sda3')).toEqual(['mirrored']);
    expect(found.systems.find(({ distro }) => distro === 'alpinelinux')?.root).toMatch(/^\/dev\/md\d+$/);
  });

  it('finds what is named by UUID, /usr on its own, encrypted roots and skipped snapshots', async () => {
    const key = { device: '/dev/sda1', key: 'secret' };
    await build({ 'named.img': 320 }, async (session) => {
      await session.call('part_init', { device: '/dev/sda', parttype: 'gpt' });
      await session.call('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 2048n, endsect: 98_303n });
      await session.call('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 98_304n, endsect: -2048n });
      await session.call('luks_format', { ...key, keyslot: 0 });
      await session.call('cryptsetup_open', { ...key, mapname: 'c' });
      await session.call('mkfs', { fstype: 'ext4', device: '/dev/mapper/c' });
      await mountAll(session, { '/': '/dev/mapper/c' });
      const luks: string = await session.call('luks_uuid', { device: '/dev/sda1' });
      await writeTree(session, {
        ...alpineTree,
        '/etc/fstab': '/dev/mapper/cr_root / ext4 defaults 0 1\n',
        '/etc/crypttab': `cr_root UUID=${luks} none luks\n`,
      });
      await session.call('umount_all');

      await session.call('pvcreate', { device: '/dev/sda2' });
      await session.call('vgcreate', { volgroup: 'vg', physvols: ['/dev/sda2'] });
      for (const logvol of ['usr', 'root']) await session.call('lvcreate', { logvol, volgroup: 'vg', mbytes: 32 });
      for (const name of ['usr', 'root']) await session.call('mkfs', { fstype: 'ext4', device: `/dev/vg/${name}` });
      const plain = (uuid: string): string => uuid.replaceAll('-', '');
      const group = plain(
        await session.call('vgs_full').then(([one]: readonly { vg_uuid: string }[]) => one?.vg_uuid ?? ''),
      );
      const volume = plain(
        await session
          .call('lvs_full')
          .then(
            (all: readonly { lv_name: string; lv_uuid: string }[]) =>
              all.find((one) => one.lv_name === 'usr')?.lv_uuid ?? '',
          ),
      );
      const uuid: string = await session.call('vfs_uuid', { mountable: '/dev/vg/root' });
      await mountAll(session, { '/': '/dev/vg/root', '/usr': '/dev/vg/usr' });
      const release = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n';
      await writeTree(session, {
        '/bin': { link: 'usr/bin' },
        '/usr/bin/sh': '',
        '/usr/lib/os-release': release,
        '/etc/os-release': { link: '../usr/lib/os-release' },
        '/etc/fstab': `/dev/disk/by-uuid/${uuid} / ext4 defaults 0 1\n/dev/disk/by-id/dm-uuid-LVM-${group}${volume} /usr ext4 defaults 0 1\n`,
        '/var/lib/dpkg/status': 'Package: hello\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n',
      });
      await session.call('umount_all');
      for (const command of [
        'lvm lvcreate -y -L 64M -T vg/pool',
        'lvm lvcreate -y -V 32M -T vg/pool -n thin',
        'mkfs.ext4 -q /dev/vg/thin',
        'mount /dev/vg/thin /mnt && mkdir -p /mnt/etc && echo ID=thin >/mnt/etc/os-release && umount /mnt',
        'lvm lvcreate -y -s vg/thin -n before',
      ])
        await session.call('debug', { subcmd: 'sh', extraargs: [command] });
    });
    const found = await inspect(['named.img'], { keys: [key] });
    const encrypted = found.systems.find(({ root }) => root.startsWith('/dev/mapper/luks-'));
    expect(found.applications(encrypted?.root ?? '')).toEqual(['busybox', 'musl']);
    expect(found.warnings(encrypted?.root)).toEqual([]);
    expect(found.system('/dev/vg/root')).toMatchObject({
      product_name: 'Ubuntu 24.04.1 LTS',
      distro: 'ubuntu',
      mountpoints: new Map([
        ['/', '/dev/vg/root'],
        ['/usr', '/dev/vg/usr'],
      ]),
    });
    expect(found.applications('/dev/vg/root')).toEqual(['hello']);
    expect(found.system('/dev/vg/usr')).toBeUndefined();
    expect(found.image.filesystems.map(({ mountable }) => mountable)).toContain('/dev/vg/before');
    expect(found.system('/dev/vg/thin')).toMatchObject({ snapshots: ['/dev/vg/before'] });
  });

  it('reports Windows with a damaged registry, and with drive letters of disks that are not there', async () => {
    const software = hiveOf(
      SOFTWARE,
      keys(SOFTWARE, 'Microsoft\\Windows NT\\CurrentVersion', {
        ProductName: text('Windows Server 2025 Standard'),
        CurrentVersion: text('6.3'),
        CurrentMajorVersionNumber: text('10'),
        CurrentMinorVersionNumber: number(0),
        CurrentBuildNumber: text('26100'),
        InstallationType: text('Server'),
      }),
    );
    const place = (id: string, mebibyte: number): string => {
      const offset = Buffer.alloc(8);
      offset.writeBigUInt64LE(BigInt(mebibyte << 20));
      return `hex(3):${[...Buffer.from(id), ...offset].map((byte) => byte.toString(16).padStart(2, '0')).join(',')}`;
    };
    const system = hiveOf(
      SYSTEM,
      [
        keys(SYSTEM, 'Select', { Current: number(1) }),
        keys(SYSTEM, 'MountedDevices', {
          '\\\\DosDevices\\\\C:': place('1234', 1),
          '\\\\DosDevices\\\\D:': place('WXYZ', 1),
        }),
        keys(SYSTEM, 'ControlSet001\\Services\\Tcpip\\Parameters', { Hostname: text('WIN-1') }),
        keys(SYSTEM, 'ControlSet001\\Control\\Session Manager\\Environment', { PROCESSOR_ARCHITECTURE: text('ARM64') }),
      ].join('\n'),
    );
    await build({ 'windows.img': 64 }, async (session) => {
      await session.call('part_init', { device: '/dev/sda', parttype: 'mbr' });
      for (const index of [0, 1, 2])
        await session.call('part_add', {
          device: '/dev/sda',
          prlogex: 'p',
          startsect: BigInt((1 + 20 * index) * 2048),
          endsect: BigInt((21 + 20 * index) * 2048 - 1),
        });
      await session.call('pwrite_device', { device: '/dev/sda', content: Buffer.from('1234'), offset: 0x1b8n });
      for (const [index, hive] of [system, system.subarray(0, 4096), system].entries()) {
        const device = `/dev/sda${index + 1}`;
        await session.call('mkfs', { fstype: 'ntfs', device });
        await mountAll(session, { '/': device });
        await makeDirectories(session, '/Program Files');
        await writeTree(session, {
          '/Windows/System32/cmd.exe': index === 2 ? Buffer.alloc(1024) : programHeaders(),
          '/Windows/System32/config/SOFTWARE': software,
          '/Windows/System32/config/SYSTEM': Buffer.from(hive),
        });
        await session.call('umount_all');
      }
    });
    emptyImage(path('blank.img'), 16);
    const found = await inspect(['blank.img', 'windows.img'], { without_applications: true });
    const facts = { product_name: 'Windows Server 2025 Standard', build_id: '26100', major_version: 10 };
    expect(found.system('/dev/sdb1')).toMatchObject({
      ...facts,
      hostname: 'WIN-1',
      arch: 'x86_64',
      drive_mappings: new Map([['C', '/dev/sdb1']]),
    });
    expect(found.system('/dev/sdb2')).toMatchObject({ ...facts, arch: 'x86_64' });
    expect(found.system('/dev/sdb3')).toMatchObject({ ...facts, hostname: 'WIN-1', arch: 'aarch64' });
    const damages = found.warnings().filter(({ reason }) => reason === 'DAMAGED_REGISTRY');
    expect(damages.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        expect.stringContaining('/dev/sdb2: /Windows/System32/config/SYSTEM is damaged'),
        expect.stringContaining('/dev/sdb3: /Windows/System32/cmd.exe is compressed or damaged'),
      ]),
    );
  });
});
