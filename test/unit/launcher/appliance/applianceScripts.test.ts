/** The appliance scripts, run by the host's shell on plain files, with stub tools that record their calls. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  attachScript,
  resumeScript,
  detachScript,
  diskName,
  warmUpScript,
} from '../../../../src/launcher/appliance/applianceScripts.js';

const identity = {
  time: 1700000000.1239,
  machineId: '0123456789abcdef0123456789abcdef',
  bootId: '11111111-2222-3333-4444-555555555555',
};

describe('the name of a disk', () => {
  it.each([
    [0, 'sda'],
    [1, 'sdb'],
    [25, 'sdz'],
    [26, 'sdaa'],
    [51, 'sdaz'],
    [52, 'sdba'],
    [59, 'sdbh'],
    [254, 'sdiu'],
    [701, 'sdzz'],
    [702, 'sdaaa'],
  ])('%i is %s', (index, name) => {
    expect(diskName(index)).toBe(name);
  });
});

describe('the scripts', () => {
  it.each([
    ['resuming without drives', resumeScript(identity, 0)],
    ['resuming with many drives', resumeScript(identity, 255)],
    ['warming up', warmUpScript()],
    ['attaching', attachScript({ index: 1, name: 'sdb' })],
    ['detaching', detachScript(1)],
  ])('%s: a shell understands', (_name, script) => {
    expect(spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('never exceed the size of a message to the daemon', () => {
    expect(Buffer.byteLength(resumeScript(identity, 255))).toBeLessThan(16 * 1024);
  });
});

let guest: string;
const inGuest = (path: string): string => join(guest, path);
const write = (path: string, contents: string): void => {
  mkdirSync(dirname(inGuest(path)), { recursive: true });
  writeFileSync(inGuest(path), contents);
};

beforeEach(() => {
  guest = mkdtempSync(join(tmpdir(), 'guest-'));
  for (const tool of ['date', 'udevadm', 'mdadm', 'lvm', 'ldmtool', 'blockdev', 'dd']) {
    write(`bin/${tool}`, `#!/bin/sh\necho "${tool} $*" >>${inGuest('calls')}\n`);
    chmodSync(inGuest(`bin/${tool}`), 0o755);
  }
  write('etc/machine-id', 'of the template\n');
  write('run/boot-id', 'of the template\n');
  write('run/machine-id', 'of the template\n');
  write('run/rng', 'virtio1\n');
  write('run/scsi-host', '3\n');
  write('run/crng-reseeded', 'crng reseeded due to virtual machine fork\n');
  write('run/udev/data/b254:0', 'E:ID_FS_TYPE=ext4\n');
  write('sys/class/scsi_host/host0/proc_name', 'ahci\n');
  write('sys/class/scsi_host/host3/proc_name', 'virtio_scsi\n');
  write('sys/class/scsi_host/host3/scan', '');
  write('sys/bus/scsi/drivers/sd/bind', '');
  write('sys/bus/virtio/drivers/virtio_rng/bind', '');
});
afterEach(() => rmSync(guest, { recursive: true }));

const disk = (id: number, name: string): void => {
  mkdirSync(inGuest(`sys/bus/scsi/devices/3:0:${id}:0/block/${name}`), { recursive: true });
};
const shell = (program: string): { status: number | null; stdout: string; stderr: string; calls: string[] } => {
  const script = program.replaceAll(/\/(sys|run|etc|proc)\//g, (path) => inGuest(path));
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script], {
    encoding: 'utf8',
    env: { PATH: `${inGuest('bin')}:${process.env['PATH'] ?? ''}` },
  });
  return {
    status,
    stdout,
    stderr,
    calls: existsSync(inGuest('calls')) ? readFileSync(inGuest('calls'), 'utf8').trim().split('\n') : [],
  };
};
const run = (drives: number): Omit<ReturnType<typeof shell>, 'stdout'> => {
  const { stdout: _stdout, ...rest } = shell(resumeScript(identity, drives));
  return rest;
};

describe('before the machine is saved', () => {
  beforeEach(() => {
    disk(0, 'sda');
    write('sys/bus/acpi/drivers/vmgenid/QEMU:00', '');
    write('proc/sys/kernel/random/boot_id', 'of the kernel\n');
    for (const tool of ['mount', 'grep']) write(`bin/${tool}`, `#!/bin/sh\necho "${tool} $*" >>${inGuest('calls')}\n`);
    for (const tool of ['mount', 'grep']) chmodSync(inGuest(`bin/${tool}`), 0o755);
  });

  it('what clones need is noted, and the files of identities are replaced by files in memory', () => {
    write('sys/bus/virtio/drivers/virtio_rng/virtio1/uevent', '');
    write('run/rng', '');
    write('run/scsi-host', '');
    const { status, calls } = shell(warmUpScript());
    expect(status).toBe(0);
    const mounts = [
      ['run/boot-id', 'proc/sys/kernel/random/boot_id'],
      ['run/machine-id', 'etc/machine-id'],
    ];
    for (const [file = '', over = ''] of mounts)
      expect(calls).toContain(`mount --bind ${inGuest(file)} ${inGuest(over)}`);
    expect(readFileSync(inGuest('run/scsi-host'), 'utf8')).toBe('3\n');
    expect(readFileSync(inGuest('run/rng'), 'utf8')).toBe('virtio1\n');
    expect(readFileSync(inGuest('sys/bus/virtio/drivers/virtio_rng/unbind'), 'utf8')).toBe('virtio1\n');
  });

  it('an appliance without a random number generator or a machine ID will do', () => {
    rmSync(inGuest('sys/bus/virtio'), { recursive: true });
    rmSync(inGuest('etc/machine-id'));
    expect(shell(warmUpScript())).toMatchObject({ status: 0 });
    expect(readFileSync(inGuest('run/rng'), 'utf8')).toBe('\n');
    expect(readFileSync(inGuest('etc/machine-id'), 'utf8')).toBe('');
  });
});

describe('on resume', () => {
  it('the machine gets its own identity', () => {
    expect(run(0)).toEqual({ status: 0, stderr: '', calls: ['date -u -s @1700000000.124', 'udevadm settle'] });
    expect(readFileSync(inGuest('run/machine-id'), 'utf8')).toBe(`${identity.machineId}\n`);
    expect(readFileSync(inGuest('run/boot-id'), 'utf8')).toBe(`${identity.bootId}\n`);
  });

  it('the random number generator is bound again, if the template had one and it is not bound yet', () => {
    const bind = 'sys/bus/virtio/drivers/virtio_rng/bind';
    run(0);
    expect(readFileSync(inGuest(bind), 'utf8')).toBe('virtio1\n');
    write(bind, '');
    write('sys/bus/virtio/drivers/virtio_rng/virtio1/uevent', '');
    run(0);
    expect(readFileSync(inGuest(bind), 'utf8')).toBe('');
    rmSync(inGuest('sys/bus/virtio/drivers/virtio_rng'), { recursive: true });
    write('run/rng', '\n');
    expect(run(0)).toMatchObject({ status: 0, stderr: '' });
  });

  it('it fails if the kernel does not reseed', () => {
    write('run/crng-reseeded', '');
    // The real one waits five seconds.
    write('bin/sleep', '#!/bin/sh\n');
    chmodSync(inGuest('bin/sleep'), 0o755);
    expect(run(0)).toMatchObject({ status: 1, stderr: 'the kernel did not reseed its random number generator\n' });
  });

  it('it waits for a late reseed', () => {
    rmSync(inGuest('run/crng-reseeded'));
    write('bin/sleep', `#!/bin/sh\necho now >${inGuest('run/crng-reseeded')}\n`);
    chmodSync(inGuest('bin/sleep'), 0o755);
    expect(run(0)).toMatchObject({ status: 0 });
  });

  it('drives are discovered on the right controller, and have the time-out of a boot', () => {
    disk(0, 'sda');
    disk(1, 'sdb');
    expect(run(2)).toMatchObject({ status: 0, stderr: '', calls: ['date -u -s @1700000000.124', 'udevadm settle'] });
    expect(readFileSync(inGuest('sys/class/scsi_host/host3/scan'), 'utf8')).toBe('0 1 0\n');
    expect(existsSync(inGuest('sys/class/scsi_host/host0/scan'))).toBe(false);
    expect(readFileSync(inGuest('sys/bus/scsi/devices/3:0:1:0/timeout'), 'utf8')).toBe('300\n');
  });

  it('it fails if a drive has another name, or was not discovered', () => {
    disk(0, 'sda');
    disk(1, 'sdc');
    expect(run(2)).toMatchObject({ status: 1, stderr: 'drive 1 was not discovered as sdb\n' });
  });

  const PVSCAN = 'lvm pvscan --cache --activate ay';
  const ARRAYS = ['mdadm -As --auto=yes --no-degraded', 'udevadm settle'];
  it.each([
    ['nothing for file systems', 'E:ID_FS_TYPE=btrfs\nE:ID_PART_ENTRY_TYPE=0x83\n', []],
    ['nothing for words in a label', 'E:ID_FS_LABEL=ID_FS_TYPE=LVM2_member\n', []],
    ['volume groups', 'E:ID_FS_TYPE=LVM2_member\n', [PVSCAN, 'udevadm settle']],
    [
      'arrays, and the volume groups that may be on them',
      'E:ID_FS_TYPE=linux_raid_member\n',
      [...ARRAYS, PVSCAN, 'mdadm -As --auto=yes --run', 'udevadm settle'],
    ],
    [
      'arrays of firmware',
      'E:ID_FS_TYPE=isw_raid_member\n',
      [...ARRAYS, PVSCAN, 'mdadm -As --auto=yes --run', 'udevadm settle'],
    ],
    ['dynamic disks on an MBR', 'E:ID_PART_ENTRY_TYPE=0x42\n', ['ldmtool create all', 'udevadm settle']],
    [
      'dynamic disks on a GPT',
      'E:ID_PART_ENTRY_TYPE=af9b60a0-1431-4f62-bc68-3311714a69ad\n',
      ['ldmtool create all', 'udevadm settle'],
    ],
  ])('starts %s', (_what, data, calls) => {
    disk(0, 'sda');
    write('run/udev/data/b8:0', data);
    expect(run(1)).toEqual({
      status: 0,
      stderr: '',
      calls: ['date -u -s @1700000000.124', 'udevadm settle', ...calls],
    });
  });

  it.each([
    [
      'whose partitions are not those of its MBR',
      true,
      'E:ID_PART_TABLE_TYPE=dos\n',
      ['ldmtool create all', 'udevadm settle'],
    ],
    ['but nothing for a disk with an MBR and no partitions', false, 'E:ID_PART_TABLE_TYPE=dos\n', []],
    ['but nothing for partitions of an MBR', true, 'E:ID_PART_TABLE_TYPE=dos\nE:ID_PART_ENTRY_TYPE=0x83\n', []],
  ])('starts dynamic disks %s', (_what, partition, data, calls) => {
    disk(0, 'sda');
    write('run/udev/data/b8:0', 'E:ID_PART_TABLE_TYPE=dos\n');
    write('run/udev/data/b8:1', data);
    if (partition) write('sys/dev/block/8:1/partition', '1\n');
    expect(run(1)).toEqual({
      status: 0,
      stderr: '',
      calls: ['date -u -s @1700000000.124', 'udevadm settle', ...calls],
    });
  });

  it('everything that exists is started, in the order of a boot', () => {
    disk(0, 'sda');
    write('run/udev/data/b8:0', 'E:ID_FS_TYPE=LVM2_member\n');
    write('run/udev/data/b8:16', 'E:ID_FS_TYPE=linux_raid_member\n');
    write('run/udev/data/b8:33', 'E:ID_PART_ENTRY_TYPE=5808c8aa-7e8f-42e0-85d2-e1e90434cfb3\n');
    expect(run(1).calls.slice(2)).toEqual([
      ...ARRAYS,
      PVSCAN,
      'mdadm -As --auto=yes --run',
      'ldmtool create all',
      'udevadm settle',
    ]);
  });

  it('the older way is used if lvm has no pvscan --activate, and a failing tool does not matter', () => {
    disk(0, 'sda');
    write('run/udev/data/b8:0', 'E:ID_FS_TYPE=LVM2_member\n');
    write('bin/lvm', `#!/bin/sh\necho "lvm $*" >>${inGuest('calls')}\nexit 5\n`);
    chmodSync(inGuest('bin/lvm'), 0o755);
    expect(run(1)).toMatchObject({ status: 0, calls: expect.arrayContaining(['lvm vgchange -aay --sysinit']) });
  });
});

describe('when a drive is attached', () => {
  const PVSCAN = 'lvm pvscan --cache --activate ay';

  it.each([
    ['is found', 'sdb', []],
    ['has its own volume groups started, as before it', 'sdb', ['E:ID_FS_TYPE=LVM2_member']],
  ])('it %s', (_what, name, data) => {
    disk(1, name);
    write(`sys/block/${name}/dev`, '8:16\n');
    write('run/udev/data/b8:0', 'E:ID_FS_TYPE=linux_raid_member\n');
    write('run/udev/data/b8:16', data.join('\n'));
    const started = data.length === 0 ? [] : [PVSCAN, 'udevadm settle'];
    expect(shell(attachScript({ index: 1, name }))).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
      calls: ['udevadm settle', ...started],
    });
  });

  it('its partitions count', () => {
    disk(1, 'sdb');
    write('sys/block/sdb/dev', '8:16\n');
    write('sys/block/sdb/sdb1/dev', '8:17\n');
    write('run/udev/data/b8:17', 'E:ID_FS_TYPE=LVM2_member\n');
    expect(shell(attachScript({ index: 1, name: 'sdb' })).calls).toContain(PVSCAN);
  });

  it('it must get the expected name', () => {
    disk(1, 'sdc');
    expect(shell(attachScript({ index: 1, name: 'sdb' }))).toMatchObject({
      status: 1,
      stderr: 'drive 1 was not discovered as sdb\n',
    });
  });
});

describe('when a drive is detached', () => {
  const FLUSH = 'dd if=/dev/null of=/dev/sdb conv=notrunc,fsync';
  const leave = (): ReturnType<typeof shell> => shell(detachScript(1));

  beforeEach(() => {
    disk(1, 'sdb');
    write(
      'proc/mounts',
      '/dev/vda / ext4 rw 0 0\n/dev/sda /sysroot ext4 rw 0 0\n/dev/sdba1 /sysroot/other ext4 rw 0 0\n',
    );
    write('proc/swaps', 'Filename Type Size Used Priority\n');
  });

  it('everything is written, and the disk is released', () => {
    expect(leave()).toEqual({
      status: 0,
      stdout: 'sdb\n',
      stderr: '',
      calls: ['udevadm settle', 'blockdev --rereadpt /dev/sdb', FLUSH, 'udevadm settle'],
    });
    expect(readFileSync(inGuest('sys/bus/scsi/devices/3:0:1:0/delete'), 'utf8')).toBe('1\n');
  });

  it.each([
    ['mounted', 'mounted on /', () => write('proc/mounts', '/dev/sdb1 /sysroot ext4 rw 0 0\n')],
    ['mounted as a whole', 'mounted on /data', () => write('proc/mounts', '/dev/sdb /sysroot/data ext4 rw 0 0\n')],
    ['swap', 'swap', () => write('proc/swaps', 'Filename Type Size Used Priority\n/dev/sdb2 partition 1 0 -2\n')],
    [
      'in a volume group',
      'part of group-one',
      () => write('sys/bus/scsi/devices/3:0:1:0/block/sdb/sdb1/holders/dm-0/dm/name', 'group-one\n'),
    ],
    [
      'in an array',
      'part of md127',
      () => write('sys/bus/scsi/devices/3:0:1:0/block/sdb/holders/md127/dev', '9:127\n'),
    ],
  ])('not while it is %s', (_what, use, begin) => {
    begin();
    expect(leave()).toMatchObject({ status: 1, stderr: `the drive is in use, ${use}\n`, calls: [] });
    expect(existsSync(inGuest('sys/bus/scsi/devices/3:0:1:0/delete'))).toBe(false);
  });

  it('not while the kernel reports that it is in use', () => {
    write(
      'bin/blockdev',
      '#!/bin/sh\necho "blockdev: ioctl error on BLKRRPART: Device or resource busy" >&2; exit 1\n',
    );
    expect(leave()).toMatchObject({ status: 1, stderr: 'the drive is in use\n' });
  });

  it('even if its partition table cannot be read', () => {
    write('bin/blockdev', '#!/bin/sh\necho "blockdev: ioctl error on BLKRRPART: Input/output error" >&2; exit 1\n');
    expect(leave()).toMatchObject({ status: 0 });
  });

  it('not if it cannot be flushed', () => {
    write('bin/dd', '#!/bin/sh\necho "dd: fsync failed: Input/output error" >&2; exit 1\n');
    expect(leave()).toMatchObject({
      status: 1,
      stderr: 'cannot flush the disk: dd: fsync failed: Input/output error\n',
    });
    expect(existsSync(inGuest('sys/bus/scsi/devices/3:0:1:0/delete'))).toBe(false);
  });

  it('not if it does not exist', () => {
    rmSync(inGuest('sys/bus/scsi/devices/3:0:1:0'), { recursive: true });
    expect(leave()).toMatchObject({ status: 1, stderr: 'there is no drive 1\n' });
  });
});
