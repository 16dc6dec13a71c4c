/** The guest for the reference's examples, with everything that they name. */
import { gzipSync } from 'node:zlib';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { emptyImage, run } from '../diskImages.js';
import { journalFile } from '../journalFile.js';
import { inGuest } from '../launchKinds.js';
import type { SessionClient } from '../testClient.js';
import { actionNamed, decodedExample } from '../exampleCalls.js';
import { dpkgStatus } from './dpkg.js';
import { writeTree } from './guest.js';

/** Programs of the appliance, which its kernel can run, with their shared libraries. */
const COPY_PROGRAMS =
  'cp -L --parents $(ldd /bin/sh /bin/uname | grep -o "/[^ ]*" | grep -v :) /sysroot/ && mkdir -p /sysroot/bin && cp -L /bin/sh /bin/uname /sysroot/bin/';

/** An archive in the format of initial RAM disks, with a file `etc/hostname`. */
function initialRamDisk(directory: string): Buffer {
  mkdirSync(join(directory, 'etc'));
  writeFileSync(join(directory, 'etc', 'hostname'), 'guest\n');
  return gzipSync(
    execFileSync('cpio', ['--quiet', '-o', '-H', 'newc'], { cwd: directory, input: 'etc\netc/hostname\n' }),
  );
}

/** An image of a CD with a file. */
export function isoImage(directory: string): Buffer {
  const image = join(directory, 'cd.iso');
  run('genisoimage', '-quiet', '-V', 'EXAMPLE', '-o', image, join(directory, 'etc'));
  return readFileSync(image);
}

/** An image of an ext2 file system. */
function fileSystemImage(directory: string): Buffer {
  const image = emptyImage(join(directory, 'disk.img'), 1);
  run('mke2fs', '-q', '-t', 'ext2', image);
  return readFileSync(image);
}

/** Images that are created on the host. */
export interface MadeImages {
  readonly initrd: Buffer;
  readonly iso: Buffer;
  readonly fileSystem: Buffer;
}

function makeImages(): MadeImages {
  const directory = mkdtempSync(join(tmpdir(), 'example-guest-'));
  try {
    return { initrd: initialRamDisk(directory), iso: isoImage(directory), fileSystem: fileSystemImage(directory) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Creates the guest on /dev/sda and mounts it; returns what was created for it. */
export async function fillExampleGuest(session: SessionClient): Promise<MadeImages> {
  const images = makeImages();
  const { uuid: partitionUuid } = decodedExample(actionNamed('findfs_partuuid'));
  const { uuid } = decodedExample(actionNamed('findfs_uuid'));
  await session.call('part_init', { device: '/dev/sda', parttype: 'gpt' });
  await session.call('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 4096n, endsect: -64n });
  // The place for GRUB's second part.
  await session.call('part_add', { device: '/dev/sda', prlogex: 'p', startsect: 2048n, endsect: 4095n });
  await session.call('part_set_gpt_type', {
    device: '/dev/sda',
    partnum: 2,
    guid: '21686148-6449-6e6f-744e-656564454649',
  });
  await session.call('part_set_name', { device: '/dev/sda', partnum: 1, name: 'root' });
  await session.call('part_set_gpt_guid', { device: '/dev/sda', partnum: 1, guid: partitionUuid });
  // With checksums, ext4 does not permit setting inode generations.
  await session.call('mkfs', { device: '/dev/sda1', fstype: 'ext4', label: 'root', features: '^metadata_csum' });
  await session.call('set_uuid', { device: '/dev/sda1', uuid });
  await session.call('mount', { mountable: '/dev/sda1', mountpoint: '/' });
  for (const path of ['/tmp', '/mnt', '/data', '/lib']) await session.call('mkdir', { path });
  await writeTree(session, {
    '/boot/initrd.img': images.initrd,
    '/bin/ping': 'not really\n',
    '/etc/fstab': '/dev/sda1 / ext4 defaults 0 1\n',
    '/etc/hostname': 'guest\n',
    '/etc/hosts': '127.0.0.1 localhost localhost.localdomain\n192.0.2.7 server.example.com server\n',
    '/etc/os-release': { link: '../usr/lib/os-release' },
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\n',
    '/etc/debian_version': '12.7\n',
    '/etc/selinux/targeted/contexts/files/file_contexts': '/.* system_u:object_r:root_t:s0\n',
    '/srv/cd.iso': images.iso,
    '/srv/disk.img': images.fileSystem,
    '/usr/lib/os-release':
      'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n',
    '/var/lib/dpkg/status': dpkgStatus([{ name: 'bash', version: '5.2.15-2+b7' }]),
    '/var/log/syslog.1.gz': gzipSync('an error\n'),
    '/var/log/journal/0123456789abcdef0123456789abcdef/system.journal': journalFile(
      [1, 2, 3].map((number) => ({
        realtime: 1_700_000_000_000_000n + BigInt(number),
        fields: [`MESSAGE=number ${number}`, 'PRIORITY=6'],
      })),
    ),
  });
  await inGuest(session, COPY_PROGRAMS);
  return images;
}
