import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { installUdev, SCSI_ID_SCRIPT, UDEVADM_SCRIPT } from '../../appliance-builder/udev.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'udev-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(path: string, content: string | Buffer, mode = 0o644): void {
  const place = join(directory, path);
  mkdirSync(dirname(place), { recursive: true });
  writeFileSync(place, content, { mode });
}

/** Runs a script on a machine simulated by the directory; the real program prints `real` and its arguments. */
function runScript(script: string, program: string, ...args: string[]): string {
  write(`usr/lib/guestfs-grpc/${program}`, '#!/bin/sh\necho "real $*"\n', 0o755);
  // bash supports timeouts for read, like the busybox in the appliance; /bin/sh may be dash here.
  const impatient = script.replace('-lt 500', '-lt 60');
  write('script', impatient.replaceAll(/\/(proc|run|sys|usr\/lib\/guestfs-grpc)\//g, `${directory}/$1/`));
  return execFileSync('bash', ['--posix', join(directory, 'script'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  }).trimEnd();
}

describe('udevadm', () => {
  const settle = (...args: string[]): string => runScript(UDEVADM_SCRIPT, 'udevadm', ...args);

  /** A machine where udevd, process 42, has nothing to do. */
  beforeEach(() => {
    execFileSync('mkdir', ['-p', join(directory, 'usr/lib/guestfs-grpc')]);
    execFileSync('mkfifo', [join(directory, 'usr/lib/guestfs-grpc/never')]);
    write('proc/1/task/1/children', '40 42 99 ');
    write('proc/40/comm', 'guestfsd\n');
    write('proc/42/comm', 'systemd-udevd\n');
    write('proc/42/wchan', 'do_epoll_wait');
    write('proc/42/schedstat', '1000 2000 30\n');
    write('proc/42/task/42/children', '50 ');
    write('proc/50/comm', '(udev-worker)\n');
  });

  it.each([
    [['settle']],
    [['settle', '--timeout=600']],
    [['settle', '-E', '/nowhere']],
    [['--debug', 'settle', '--exit-if-exists=/nowhere']],
  ])('%j does not start the real one when udevd sleeps and the queue is empty', (args) => {
    expect(settle(...args)).toBe('');
  });

  it.each<[string, string, string]>([
    ['udevd is at work', 'proc/42/wchan', '0'],
    ['udevd sleeps in another call', 'proc/42/wchan', 'blkdev_ioctl'],
    ['an event is queued', 'run/udev/queue', ''],
    ['a child of udevd that is not a worker reads a partition table', 'proc/50/comm', '(udev-synth)\n'],
    ['udevd is not found', 'proc/42/comm', 'other\n'],
    ['the kernel does not count what runs', 'proc/42/schedstat', ''],
  ])('finally runs the real one if %s', (_why, file, content) => {
    write(file, content);
    expect(settle('settle', '--timeout=600')).toBe('real settle --timeout=600');
  });

  it('detects that udevd has run in between', () => {
    write('proc/42/later', '1000 2000 31\n');
    const script = UDEVADM_SCRIPT.replace(
      'read -r after <"/proc/$udevd/schedstat"',
      'read -r after <"/proc/$udevd/later"',
    );
    expect(runScript(script, 'udevadm', 'settle')).toBe('real settle');
  });

  it('waits until the queue is empty', () => {
    write('run/udev/queue', '');
    spawnSync('bash', ['-c', `{ sleep 0.3; rm ${directory}/run/udev/queue; } >/dev/null 2>&1 & :`]);
    expect(settle('settle')).toBe('');
  });

  it('does not wait for the queue if the file that it waits for exists', () => {
    write('run/udev/queue', '');
    write('device', '');
    expect(settle('settle', '-E', join(directory, 'device'))).toBe('');
  });

  it.each([
    [['settle', '--timeout=0']],
    [['settle', '--timeout', '600']],
    [['info', '/dev/sda']],
    [['trigger', '-s', 'block']],
    [[]],
  ])('leaves %j to the real one', (args) => {
    expect(settle(...args)).toBe(`real ${args.join(' ')}`.trimEnd());
  });

  it('triggers only relevant devices when asked to trigger all', () => {
    const [, ...args] = settle('trigger').split(' --subsystem-match=');
    expect(args.sort()).toEqual(['block', 'net', 'rtc', 'virtio-ports']);
  });
});

describe('scsi_id', () => {
  const describeDisk = (...args: string[]): string => runScript(SCSI_ID_SCRIPT, 'scsi_id', ...args);
  const asRules = ['--export', '--allowlisted', '-d', '/dev/sdb'];

  function disk(serial: string, more: Buffer = Buffer.alloc(0), vendor = 'QEMU    '): void {
    const device = 'sys/class/block/sdb/device';
    write(`${device}/vendor`, `${vendor}\n`);
    write(`${device}/model`, 'QEMU HARDDISK   \n');
    write(`${device}/rev`, '2.5+\n');
    if (serial === '' && more.length === 0) return;
    const name = Buffer.from(serial.slice(0, 20));
    const identifiers = Buffer.concat([Buffer.from([2, 0, 0, name.length]), name, more]);
    write(`${device}/vpd_pg80`, Buffer.concat([Buffer.from([0, 0x80, 0, serial.length]), Buffer.from(serial)]));
    write(`${device}/vpd_pg83`, Buffer.concat([Buffer.from([0, 0x83, 0, identifiers.length]), identifiers]));
  }

  const common = [
    'ID_SCSI=1',
    'ID_VENDOR=QEMU',
    'ID_VENDOR_ENC=QEMU\\x20\\x20\\x20\\x20',
    'ID_MODEL=QEMU_HARDDISK',
    'ID_MODEL_ENC=QEMU\\x20HARDDISK\\x20\\x20\\x20',
    'ID_REVISION=2.5+',
    'ID_TYPE=disk',
  ];

  it('describes a disk without a serial number', () => {
    disk('');
    expect(describeDisk(...asRules).split('\n')).toEqual(common);
  });

  // Lengths of 6 and 10 put a newline into one page or the other, 9 a tab.
  it.each(['a', 'system', 'label-six', 'data_disk9', 'exactly-twenty-bytes'])(
    'describes one with the serial number %s',
    (serial) => {
      disk(serial);
      expect(describeDisk(...asRules).split('\n')).toEqual([
        ...common,
        `ID_SERIAL=0QEMU_QEMU_HARDDISK_${serial}`,
        `ID_SERIAL_SHORT=${serial}`,
        `ID_SCSI_SERIAL=${serial}`,
      ]);
    },
  );

  it.each<[string, () => void]>([
    ['a serial number that has to be escaped', () => disk('two words')],
    ['a serial number that is longer than the identifier', () => disk('more-than-twenty-bytes')],
    ['a world wide name', () => disk('system', Buffer.from([1, 3, 0, 8, 0x50, 0, 0xc5, 0, 0x15, 0xea, 0x71, 0xac]))],
    ['another make', () => disk('system', undefined, 'ATA     ')],
    ['nothing known about it', () => undefined],
  ])('leaves a disk with %s to the real one', (_why, make) => {
    make();
    expect(describeDisk(...asRules)).toBe(`real ${asRules.join(' ')}`);
  });

  it('accepts the different options in the rules of bookworm', () => {
    disk('system');
    const [, ...rest] = asRules.slice(1);
    expect(describeDisk('--export', '--whitelisted', ...rest)).toContain('ID_SCSI_SERIAL=system');
  });

  it('leaves other queries to the real one', () => {
    disk('system');
    expect(describeDisk('-u', '-g', '/dev/sdb')).toBe('real -u -g /dev/sdb');
  });
});

describe('what is put into the root', () => {
  beforeEach(() => {
    write('root/usr/bin/udevadm', 'program', 0o755);
    write('root/usr/lib/udev/scsi_id', 'program', 0o755);
    write('root/usr/lib/udev/rules.d/60-persistent-storage.rules', '');
    mkdirSync(join(directory, 'root/usr/lib/systemd'));
    mkdirSync(join(directory, 'root/etc/udev'), { recursive: true });
    symlinkSync('../../bin/udevadm', join(directory, 'root/usr/lib/systemd/systemd-udevd'));
    write('busybox', 'busybox', 0o755);
  });
  const context = { log: () => undefined, signal: new AbortController().signal };

  it('keeps the programs and the daemon, under its name, next to the scripts', async () => {
    const root = join(directory, 'root');
    await installUdev(context, root, join(directory, 'busybox'));
    const programs = join(root, 'usr/lib/guestfs-grpc');
    for (const program of ['udevadm', 'scsi_id']) expect(readFileSync(join(programs, program), 'utf8')).toBe('program');
    expect(join('/usr/lib/systemd', readlinkSync(join(root, 'usr/lib/systemd/systemd-udevd')))).toBe(
      '/usr/lib/guestfs-grpc/udevadm',
    );
    expect(statSync(join(programs, 'never')).isFIFO()).toBe(true);
    expect(statSync(join(programs, 'busybox')).mode & 0o777).toBe(0o755);
    for (const [path, script] of [
      ['usr/bin/udevadm', UDEVADM_SCRIPT],
      ['usr/lib/udev/scsi_id', SCSI_ID_SCRIPT],
    ] as const) {
      expect(readFileSync(join(root, path), 'utf8')).toBe(script);
      expect(statSync(join(root, path)).mode & 0o777).toBe(0o755);
    }
  });

  it('is refused if the daemon is another program', async () => {
    rmSync(join(directory, 'root/usr/lib/systemd/systemd-udevd'));
    symlinkSync('udevd', join(directory, 'root/usr/lib/systemd/systemd-udevd'));
    await expect(installUdev(context, join(directory, 'root'), join(directory, 'busybox'))).rejects.toThrow(
      'not to udevadm',
    );
  });
});
