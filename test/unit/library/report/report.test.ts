/** Reports from scripted answers: their content, and the effects of failures. */
import { describe, expect, it } from '@jest/globals';
import type { InspectRequest, InspectResponse } from '../../../../gen/proto/guestfs/v1/inspection_report.js';
import { GuestfsError } from '../../../../src/common/errors.js';
import { inspectionReport } from '../../../../src/library/report/report.js';
import { all } from '../fakes.js';
import { application, daemonError, oneSystem, ScriptedActions, type Script } from './scriptedActions.js';

const plain: InspectRequest = {
  drives: [],
  keys: [],
  without_applications: false,
  settings: undefined,
  session_id: undefined,
  include_snapshots: false,
};

async function reportOf(
  changes: Script = {},
  request: Partial<InspectRequest> = {},
): Promise<{ report: InspectResponse[]; actions: ScriptedActions }> {
  const actions = new ScriptedActions({ ...oneSystem, ...changes });
  return { report: await all(inspectionReport(actions, { ...plain, ...request })), actions };
}

const warned = (report: readonly InspectResponse[]): string[] =>
  report
    .flatMap(({ warnings }) => warnings.map(({ field, action, reason }) => `${field} ${action} ${reason}`))
    .filter((one) => !one.endsWith(' NO_APPLICATIONS'));

describe('a report', () => {
  it('has the image, the system and its applications', async () => {
    const apps = [application({ app2_name: 'bash' })];
    const { report } = await reportOf({ inspect_list_applications2: { applications2: apps } });
    expect(report).toEqual([
      {
        part: {
          $case: 'image',
          value: {
            devices: [{ device: '/dev/sda', size: 1024n, partition_table: 'msdos' }],
            partitions: [
              {
                partition: '/dev/sda1',
                device: '/dev/sda',
                number: 1,
                start: 512n,
                size: 512n,
                name: '',
                gpt_type: '',
                mbr_id: 0x83,
              },
            ],
            filesystems: [{ mountable: '/dev/sda1', type: 'ext4', label: 'root', uuid: 'some-uuid', size: 1024n }],
            encrypted_devices: [],
            roots: ['/dev/sda1'],
          },
        },
        warnings: [],
      },
      {
        part: {
          $case: 'system',
          value: {
            root: '/dev/sda1',
            type: 'linux',
            distro: 'debian',
            product_name: '12.7',
            product_variant: 'unknown',
            major_version: 12,
            minor_version: 7,
            hostname: 'host',
            arch: 'x86_64',
            package_format: 'deb',
            package_management: 'apt',
            build_id: 'unknown',
            osinfo: 'debian12',
            mountpoints: new Map([['/', '/dev/sda1']]),
            filesystems: ['/dev/sda1'],
            drive_mappings: new Map(),
            windows: undefined,
            directory: '/',
            snapshots: [],
            version: '',
            codename: '',
            support_end: '',
          },
        },
        warnings: [],
      },
      {
        part: {
          $case: 'applications',
          value: { root: '/dev/sda1', applications: apps, package_urls: ['pkg:deb/debian/bash?distro=debian'] },
        },
        warnings: [],
      },
    ]);
  });

  it('queries facts that only Windows has', async () => {
    const { report } = await reportOf({
      inspect_get_type: { name: 'windows' },
      inspect_get_windows_systemroot: { systemroot: '/Windows' },
      inspect_get_windows_current_control_set: { controlset: 'ControlSet001' },
      inspect_get_windows_software_hive: { path: '/software' },
      inspect_get_windows_system_hive: daemonError('system hive not found'),
      inspect_get_windows_group_policy: new GuestfsError('ACTION_NOT_IN_DAEMON', 'came with 1.57.6'),
    });
    expect(report[1]?.part?.value).toMatchObject({
      windows: {
        systemroot: '/Windows',
        current_control_set: 'ControlSet001',
        software_hive: '/software',
        system_hive: '',
        group_policy: undefined,
      },
    });
    expect(warned(report)).toEqual([
      'windows.system_hive inspect_get_windows_system_hive EIO',
      'windows.group_policy inspect_get_windows_group_policy ACTION_NOT_IN_DAEMON',
    ]);
  });

  it('mounts only the root, and lists no applications, if these are omitted', async () => {
    const { report, actions } = await reportOf({}, { without_applications: true });
    expect(report.map(({ part }) => part?.$case)).toEqual(['image', 'system']);
    expect(actions.requests('mount_ro')).toEqual([{ mountable: '/dev/sda1', mountpoint: '/' }]);
    expect(actions.requests('inspect_list_applications2')).toEqual([]);
  });

  it('has no size for something that is not a device', async () => {
    const { report } = await reportOf({ list_filesystems: { fses: new Map([['btrfsvol:/dev/sda1/root', 'btrfs']]) } });
    expect(report[0]?.part?.value).toMatchObject({
      filesystems: [{ mountable: 'btrfsvol:/dev/sda1/root', size: undefined }],
    });
  });
});

describe('what fails', () => {
  it('leaves its field empty, with a warning in its part', async () => {
    const { report } = await reportOf({
      vfs_label: daemonError('no label'),
      inspect_get_hostname: daemonError('no host name'),
      inspect_get_osinfo: daemonError('no number'),
    });
    expect(report[0]).toMatchObject({
      part: { value: { filesystems: [{ label: '', uuid: 'some-uuid' }] } },
      warnings: [{ field: 'filesystems[0].label', action: 'vfs_label', reason: 'EIO', message: 'no label' }],
    });
    expect(report[1]).toMatchObject({ part: { value: { hostname: '', osinfo: '', arch: 'x86_64' } } });
    expect(warned(report.slice(1))).toEqual(['hostname inspect_get_hostname EIO', 'osinfo inspect_get_osinfo EIO']);
  });

  it('can affect everything: there is a report nevertheless', async () => {
    const nothing = Object.fromEntries(Object.keys(oneSystem).map((action) => [action, daemonError('broken')]));
    const { report } = await reportOf(nothing);
    expect(report).toHaveLength(1);
    expect(report[0]?.part?.value).toEqual({
      devices: [],
      partitions: [],
      filesystems: [],
      encrypted_devices: [],
      roots: [],
    });
    expect(warned(report)).toContain('roots inspect_os EIO');
  });

  it.each(['APPLIANCE_GONE', 'OUTCOME_UNKNOWN', 'CANCELLED', 'DEADLINE_EXCEEDED', 'SESSION_UNKNOWN', 'EINTR'])(
    'ends the report if it does not concern one action: %s',
    async (reason) => {
      await expect(reportOf({ inspect_get_arch: new GuestfsError(reason, 'over') })).rejects.toMatchObject({ reason });
      await expect(reportOf({ inspect_list_applications2: new GuestfsError(reason, 'over') })).rejects.toMatchObject({
        reason,
      });
    },
  );

  it('is reported with a harmless text of limited length', async () => {
    const many = new Map(Array.from({ length: 80 }, (_unused, index) => [`/dev/vg/lv${index}`, 'ext4']));
    const { report } = await reportOf({
      list_filesystems: { fses: many },
      vfs_label: daemonError(`\u001b[31m${'x'.repeat(5000)}`),
      vfs_uuid: daemonError('no'),
    });
    const warnings = report[0]?.warnings ?? [];
    expect(warnings).toHaveLength(101);
    expect(warnings[100]).toMatchObject({ field: '', message: '60 more warnings are left out' });
    expect(warnings[0]?.message).not.toContain('\u001b');
    expect(warnings[0]?.message.length).toBeLessThanOrEqual(1024);
  });
});

describe('a file system that cannot be mounted', () => {
  const inspectedAs = async (type: string, roots: readonly string[] = []): Promise<string[]> => {
    const { report } = await reportOf({
      list_filesystems: {
        fses: new Map([
          ['/dev/sda1', 'ntfs'],
          ['/dev/sdb', type],
        ]),
      },
      inspect_os: { roots },
      mount_ro: ({ mountable }: { mountable: string }) =>
        mountable === '/dev/sdb' ? daemonError('bad superblock') : {},
    });
    return report[0]?.warnings.map(({ message }) => message) ?? [];
  };

  it('is named, with the reason, unless it holds no systems', async () => {
    for (const type of ['ext4', 'apfs', 'zfs', 'ntfs'])
      expect(await inspectedAs(type)).toEqual([
        '/dev/sdb cannot be read, so nothing on it is reported: bad superblock',
      ]);
    for (const type of ['swap', 'unknown', 'vfat']) expect(await inspectedAs(type)).toEqual([]);
    expect(await inspectedAs('ntfs', ['/dev/sda1'])).toEqual([]);
  });
});

describe('a product name', () => {
  it('in single quotes is reported without them', async () => {
    const { report } = await reportOf({
      is_file: ({ path }: { path: string }) => ({ fileflag: path === '/etc/os-release' }),
      pread: { content: Buffer.from("ID='some'\nPRETTY_NAME='Some Linux'\n") },
      inspect_get_product_name: { product: "'Some Linux'" },
    });
    expect(report[1]?.part?.value).toMatchObject({ product_name: 'Some Linux' });
  });
});

describe('the packages of a report', () => {
  const databases = (...there: readonly string[]) => ({
    is_file: ({ path }: { path: string }) => ({ fileflag: there.includes(path) }),
  });
  const warnings = (report: readonly InspectResponse[]): string[] =>
    report.flatMap((one) => one.warnings.map(({ reason, message }) => `${reason} ${message}`));

  it('are from the first database that has any', async () => {
    const { report, actions } = await reportOf({
      inspect_get_package_format: { packageformat: 'unknown' },
      ...databases('/var/lib/dpkg/status', '/var/lib/rpm/rpmdb.sqlite', '/lib/apk/db/installed'),
      inspect_list_applications2: ({ format }: { format: string }) => ({
        applications2: format === 'deb' ? [] : [application({ app2_name: 'bash' })],
      }),
    });
    expect(actions.requests('inspect_list_applications2')).toEqual([{ format: 'deb' }, { format: 'rpm' }]);
    expect(report[1]?.part?.value).toMatchObject({ package_format: 'rpm' });
    expect(report[2]?.part?.value).toMatchObject({ applications: [{ app2_name: 'bash' }] });
    expect(warnings(report)).toEqual([]);
  });

  it('of another database do not hide why the usual one cannot be read', async () => {
    const { report } = await reportOf({
      ...databases('/var/lib/rpm/rpmdb.sqlite'),
      inspect_list_applications2: ({ format }: { format: string }) =>
        format === 'deb' ? daemonError('no status file') : { applications2: [application({ app2_name: 'bash' })] },
    });
    expect(report[1]?.part?.value).toMatchObject({ package_format: 'rpm' });
    expect(warnings(report)).toEqual(['EIO no status file']);
  });

  it('of rpm are read from a writable file system if they cannot be read otherwise', async () => {
    let isWritable = false;
    const { report } = await reportOf({
      inspect_get_package_format: { packageformat: 'rpm' },
      debug: ({ text }: { text: string }) => {
        isWritable ||= text.includes('remount,rw');
        return { result: '' };
      },
      inspect_list_applications2: () =>
        isWritable ? { applications2: [application({ app2_name: 'bash' })] } : daemonError('unable to open'),
    });
    expect(report[2]?.part?.value).toMatchObject({ applications: [{ app2_name: 'bash' }] });
    expect(warnings(report)).toEqual([]);
    const failing = await reportOf({
      inspect_get_package_format: { packageformat: 'rpm' },
      inspect_list_applications2: daemonError('unable to open'),
    });
    expect(warnings(failing.report)).toEqual(['EIO unable to open']);
  });

  it('have a warning for what is wrong with the database, and where there are none', async () => {
    const { report } = await reportOf({
      inspect_list_applications2: { applications2: [application({ app2_name: 'bash' })], notes: ['it was cut off'] },
    });
    expect(warnings(report)).toEqual(['MALFORMED_FILE it was cut off']);
    expect(warnings((await reportOf()).report)).toEqual([
      'NO_APPLICATIONS the deb database of this system has no packages',
    ]);
  });
});

describe('mounting for the applications', () => {
  it('proceeds from the root down, read-only, and ends before the list is sent', async () => {
    const mountpoints = new Map([
      ['/var/lib', '/dev/sda3'],
      ['/', '/dev/sda1'],
      ['/var', '/dev/sda2'],
    ]);
    const { actions } = await reportOf({
      inspect_get_mountpoints: { mountpoints },
      inspect_list_applications2: { applications2: [application({ app2_name: 'bash' })] },
    });
    expect(actions.requests('mount_ro')).toEqual([
      { mountable: '/dev/sda1', mountpoint: '/' },
      { mountable: '/dev/sda2', mountpoint: '/var' },
      { mountable: '/dev/sda3', mountpoint: '/var/lib' },
    ]);
    expect(actions.called.slice(-2).map(({ action }) => action)).toEqual(['inspect_list_applications2', 'umount_all']);
  });

  it('uses the root itself if the system does not specify it', async () => {
    const { actions } = await reportOf({ inspect_get_mountpoints: { mountpoints: new Map([['/home', '/dev/sda2']]) } });
    expect(actions.requests('mount_ro')).toEqual([
      { mountable: '/dev/sda1', mountpoint: '/' },
      { mountable: '/dev/sda2', mountpoint: '/home' },
    ]);
  });

  it('continues if one cannot be mounted, and stops at a limit', async () => {
    const mountpoints = new Map(Array.from({ length: 100 }, (_unused, index) => [`/m${index}`, '/dev/sda2']));
    const { report, actions } = await reportOf({
      inspect_get_mountpoints: { mountpoints },
      mount_ro: ({ mountpoint }: { mountpoint: string }) => (mountpoint === '/m3' ? daemonError('no such device') : {}),
    });
    expect(actions.requests('mount_ro')).toHaveLength(64);
    expect(warned(report)).toEqual(['mountpoints[/m3] mount_ro EIO', 'mountpoints mount_ro MESSAGE_TOO_LARGE']);
  });
});

describe('data from a guest', () => {
  it('is sent in batches that fit into messages', async () => {
    const applications2 = Array.from({ length: 5000 }, (_unused, index) =>
      application({ app2_name: `package-${index}`, app2_description: 'x'.repeat(500) }),
    );
    const { report } = await reportOf({ inspect_list_applications2: { applications2 } });
    const batches = report.flatMap(({ part }) => (part?.$case === 'applications' ? [part.value.applications] : []));
    expect(batches.length).toBeGreaterThan(3);
    expect(batches.flat()).toEqual(applications2);
  });

  it('is omitted if a single item is too large', async () => {
    const huge = 'x'.repeat(1 << 20);
    const { report } = await reportOf({
      inspect_get_product_name: { product: huge },
      inspect_list_applications2: {
        applications2: [application({ app2_name: 'a' }), application({ app2_name: 'b', app2_description: huge })],
      },
    });
    expect(report[1]?.part?.value).toMatchObject({ product_name: '' });
    expect(report[2]?.part?.value).toMatchObject({ applications: [{ app2_name: 'a' }] });
    expect(warned(report)).toEqual([
      'product_name inspect_get_product_name MESSAGE_TOO_LARGE',
      'applications  MESSAGE_TOO_LARGE',
    ]);
  });

  it('is truncated if there are too many file systems', async () => {
    const fses = new Map(Array.from({ length: 20_000 }, (_unused, index) => [`/dev/vg/lv${index}`, 'ext4']));
    const { report } = await reportOf({ list_filesystems: { fses } });
    const part = report[0]?.part;
    expect(part?.$case === 'image' ? part.value.filesystems.length : 0).toBeLessThan(20_000);
    expect(warned(report)).toEqual(['filesystems  MESSAGE_TOO_LARGE']);
  });
});

describe('data invented by an appliance', () => {
  /** Nearly the maximum length of a field. */
  const long = (start: string): string => start + 'x'.repeat(100_000);
  const partitions = Array.from({ length: 5000 }, (_unused, index) => `/dev/sda${index + 1}`);

  it.each<[string, Script]>([
    ['devices', { part_to_dev: ({ partition }: { partition: string }) => ({ device: long(partition) }) }],
    [
      'names',
      { part_get_parttype: { parttype: 'gpt' }, part_get_name: { name: long('') }, part_get_gpt_type: { guid: '' } },
    ],
    [
      'kinds of tables',
      {
        list_partitions: { partitions: partitions.slice(0, 1000) },
        list_devices: { devices: partitions.slice(0, 1000) },
        part_to_dev: ({ partition }: { partition: string }) => ({ device: partition }),
        part_get_parttype: { parttype: long('') },
      },
    ],
  ])('about partitions is limited: long %s', async (_what, changes) => {
    const { report, actions } = await reportOf({ list_partitions: { partitions }, ...changes });
    const part = report[0]?.part;
    expect(part?.$case === 'image' ? part.value.partitions.length : 0).toBeGreaterThan(10);
    expect(actions.requests('part_to_dev').length).toBeLessThan(50);
    expect(warned(report)).toEqual(['partitions  MESSAGE_TOO_LARGE']);
  });

  it('about devices is limited', async () => {
    const { report, actions } = await reportOf({
      list_devices: { devices: Array.from({ length: 20_000 }, (_unused, index) => `/dev/sd${index}`) },
    });
    expect(actions.requests('blockdev_getsize64').length).toBeLessThan(10_000);
    expect(warned(report)).toEqual(['devices  MESSAGE_TOO_LARGE', 'encrypted_devices  MESSAGE_TOO_LARGE']);
  });

  it('about file systems is limited', async () => {
    const fses = new Map(partitions.slice(0, 3000).map((partition) => [partition, 'ext4']));
    const { report, actions } = await reportOf({ list_filesystems: { fses }, vfs_label: { label: long('') } });
    expect(actions.requests('vfs_label').length).toBeLessThan(50);
    expect(report[0]?.warnings).toEqual([
      expect.objectContaining({
        field: 'filesystems',
        reason: 'MESSAGE_TOO_LARGE',
        message: expect.stringMatching(/^29\d\d more are left out/),
      }),
    ]);
  });

  it('does not cause genuine data to be omitted', async () => {
    const { report } = await reportOf({
      list_partitions: { partitions },
      part_get_parttype: { parttype: 'gpt' },
      part_get_name: { name: 'é'.repeat(36) },
      part_get_gpt_type: { guid: '0657FD6D-A4AB-43C4-84E5-0933C84B4F4F' },
      list_filesystems: { fses: new Map(partitions.slice(0, 3000).map((partition) => [partition, 'ext4'])) },
      vfs_label: { label: 'é'.repeat(128) },
      vfs_uuid: { uuid: '0657fd6d-a4ab-43c4-84e5-0933c84b4f4f' },
    });
    const part = report[0]?.part;
    expect(part?.$case === 'image' ? [part.value.partitions.length, part.value.filesystems.length] : []).toEqual([
      5000, 3000,
    ]);
    expect(warned(report)).toEqual([]);
  });
});

describe('tables of partitions', () => {
  it('are read once for each device', async () => {
    const { report, actions } = await reportOf({
      list_devices: { devices: ['/dev/sda', '/dev/sdb'] },
      list_partitions: { partitions: ['/dev/sda1', '/dev/sda2', '/dev/sda3', '/dev/sdb1', '/dev/md0p1'] },
      part_to_dev: ({ partition }: { partition: string }) =>
        partition === '/dev/sda2' ? daemonError('none') : { device: partition.replace(/p?\d$/, '') },
      part_get_parttype: ({ device }: { device: string }) => ({ parttype: device === '/dev/sda' ? 'msdos' : 'loop' }),
    });
    expect(actions.requests('part_list')).toEqual([
      { device: '/dev/sda' },
      { device: '/dev/sdb' },
      { device: '/dev/md0' },
    ]);
    expect(report[0]?.part?.value).toMatchObject({
      devices: [
        { device: '/dev/sda', partition_table: 'msdos' },
        { device: '/dev/sdb', partition_table: 'loop' },
      ],
      partitions: [
        { device: '/dev/sda', size: 512n, mbr_id: 0x83 },
        { device: '', size: undefined, mbr_id: undefined },
        { device: '/dev/sda', mbr_id: 0x83 },
        { device: '/dev/sdb' },
        { device: '/dev/md0' },
      ],
    });
  });
});

describe('keys', () => {
  const luks: Script = {
    list_partitions: { partitions: ['/dev/sda1', '/dev/sda2'] },
    vfs_type: ({ mountable }: { mountable: string }) => ({
      fstype: mountable === '/dev/sda2' ? 'crypto_LUKS' : mountable === '/dev/vg/lv' ? 'BitLocker' : '',
    }),
    luks_uuid: { uuid: 'abc' },
    lvs: { logvols: ['/dev/vg/lv'] },
    cryptsetup_open: {},
    lvm_scan: {},
  };

  it('open devices read-only, in order, and search for volumes in them', async () => {
    const { report, actions } = await reportOf(luks, {
      keys: [
        { device: '/dev/sda2', key: 'one' },
        { device: '/dev/vg/lv', key: 'two' },
      ],
    });
    expect(actions.requests('cryptsetup_open')).toEqual([
      { device: '/dev/sda2', key: 'one', mapname: 'luks-abc', readonly: true },
      { device: '/dev/vg/lv', key: 'two', mapname: 'inspected-1', readonly: true },
    ]);
    expect(actions.requests('lvm_scan')).toEqual([{ activate: true }, { activate: true }]);
    expect(report[0]?.part?.value).toMatchObject({
      encrypted_devices: [
        { device: '/dev/sda2', type: 'crypto_LUKS', opened_as: '/dev/mapper/luks-abc' },
        { device: '/dev/vg/lv', type: 'BitLocker', opened_as: '/dev/mapper/inspected-1' },
      ],
    });
  });

  it('that do not fit cause warnings, which never quote them', async () => {
    const { report } = await reportOf(
      { ...luks, cryptsetup_open: daemonError('No key available with this passphrase.') },
      { keys: [{ device: '/dev/sda2', key: 'wrong' }] },
    );
    expect(warned(report)).toEqual(['keys[0] cryptsetup_open EIO']);
    expect(report[0]?.part?.value).toMatchObject({
      encrypted_devices: [{ device: '/dev/sda2', opened_as: '' }, { device: '/dev/vg/lv' }],
    });
    expect(report[0]?.warnings[0]?.message).not.toContain('wrong');
  });
});
