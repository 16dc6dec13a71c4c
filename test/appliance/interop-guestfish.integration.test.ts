/** Stock libguestfs on our appliance: the one interface that this project cannot change. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, open, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { buildAppliance } from '../../appliance-builder/build.js';
import type { Manifest } from '../../appliance-builder/manifest.js';

const MINUTES = 60_000;

/** Emulated machines are slow, and even slower on a busy host. */
const LAUNCH_TIMEOUT = 10 * MINUTES;

/** The optional groups of guestfsd, all of which the appliance must have. */
const GROUPS = `acl augeas blkdiscard blkdiscardzeroes btrfs clevisluks extlinux f2fs fstrim gdisk grub hivex
  inotify journal ldm libtsk libyara linuxcaps linuxfsuuid linuxmodules linuxxattrs luks lvm2 mdadm mknod ntfs3g
  ntfsprogs realpath rsync scrub selinux selinuxrelabel sleuthkit squashfs syslinux wipefs xfs xz zerofree`.split(
  /\s+/,
);

const installed = spawnSync('guestfish', ['--version']).status === 0;
if (!installed) console.warn('guestfish is not installed: the tests of interoperability with it are skipped');

(installed ? describe : describe.skip)('stock guestfish on our appliance', () => {
  let directory: string;
  let appliance: { directory: string; manifest: Manifest };

  beforeAll(async () => {
    appliance = await buildAppliance({ log: (line) => process.stderr.write(`${line}\n`) });
    directory = await mkdtemp(join(tmpdir(), 'interop-'));
  }, 30 * MINUTES);
  afterAll(async () => {
    if (directory !== undefined) await rm(directory, { recursive: true });
  });

  async function makeDisk(name: string, size: number): Promise<string> {
    const path = join(directory, name);
    await (await open(path, 'w')).close();
    await truncate(path, size);
    return path;
  }

  /** Runs a guestfish script and returns the lines that it prints. */
  function guestfish(disks: readonly string[], script: string): string[] {
    const { status, stdout, stderr } = spawnSync(
      'guestfish',
      ['--format=raw', ...disks.flatMap((disk) => ['-a', disk])],
      {
        input: script,
        encoding: 'utf8',
        timeout: LAUNCH_TIMEOUT,
        env: {
          ...process.env,
          LIBGUESTFS_PATH: appliance.directory,
          LIBGUESTFS_BACKEND: 'direct',
          LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
        },
      },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.trimEnd().split('\n');
  }

  it(
    'launches, partitions, makes a file system, writes and reads',
    async () => {
      const disk = await makeDisk('plain.img', 64 << 20);
      const lines = guestfish(
        [disk],
        `run
         list-devices
         part-disk /dev/sda gpt
         list-partitions
         mkfs ext4 /dev/sda1
         mount /dev/sda1 /
         write /greeting "written by libguestfs\\n"
         cat /greeting
         checksum sha256 /greeting
         shutdown
        `,
      );
      expect(lines.filter((line) => line !== '')).toEqual([
        '/dev/sda',
        '/dev/sda1',
        'written by libguestfs',
        '974d3098891376e266d006f4f573e94a7e53c5a63ca2d9fb59817cde5e7c8550',
      ]);
    },
    LAUNCH_TIMEOUT,
  );

  it(
    'keeps the order of many disks, and hides its own',
    async () => {
      const disks = [
        await makeDisk('a.img', 16 << 20),
        await makeDisk('b.img', 17 << 20),
        await makeDisk('c.img', 18 << 20),
      ];
      const lines = guestfish(
        disks,
        `run
         list-devices
         blockdev-getsize64 /dev/sda
         blockdev-getsize64 /dev/sdb
         blockdev-getsize64 /dev/sdc
        `,
      );
      expect(lines).toEqual(['/dev/sda', '/dev/sdb', '/dev/sdc', ...[16, 17, 18].map((size) => String(size << 20))]);
    },
    LAUNCH_TIMEOUT,
  );

  it(
    'finds volumes and arrays of an earlier run, and has every optional group',
    async () => {
      const disks = [
        await makeDisk('lvm.img', 64 << 20),
        await makeDisk('md1.img', 32 << 20),
        await makeDisk('md2.img', 32 << 20),
      ];
      guestfish(
        disks,
        `run
         pvcreate /dev/sda
         vgcreate group /dev/sda
         lvcreate volume group 32
         mkfs ext4 /dev/group/volume
         md-create array "/dev/sdb /dev/sdc" level:raid1
         shutdown
        `,
      );
      const lines = guestfish(
        disks,
        `run
         lvs
         vfs-type /dev/group/volume
         list-md-devices
         available-all-groups
        `,
      );
      expect(lines.slice(0, 2)).toEqual(['/dev/group/volume', 'ext4']);
      expect(lines[2]).toMatch(/^\/dev\/md/);
      expect(lines.slice(3).sort()).toEqual(GROUPS);
    },
    2 * LAUNCH_TIMEOUT,
  );

  it(
    'has a network if requested',
    async () => {
      const disk = await makeDisk('network.img', 16 << 20);
      // qemu's own network hands out 169.254.0.0/16 addresses, as libguestfs sets it up.
      const lines = guestfish([disk], 'set-network true\nrun\ndebug sh "ip -4 -o addr show scope global"\n');
      expect(lines.join('\n')).toMatch(/inet 169\.254\.\d+\.\d+/);
    },
    LAUNCH_TIMEOUT,
  );
});
