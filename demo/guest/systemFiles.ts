/**
 * The files of a very small Linux system: enough for an inspection to identify it. It cannot
 * boot.
 */
import { tinyProgram } from './tinyProgram.js';

export const HOSTNAME = 'tour.example.com';

/** The volume group and its logical volumes. */
export const VOLUME_GROUP = 'system';
export const ROOT_VOLUME = `/dev/${VOLUME_GROUP}/root`;
export const HOME_VOLUME = `/dev/${VOLUME_GROUP}/home`;

export const directories = ['/boot', '/etc', '/home', '/usr/bin', '/usr/share', '/var/log', '/var/lib/dpkg'] as const;

/** Links at old paths, as on a system with merged /usr. */
export const links = [{ target: 'usr/bin', linkname: '/bin' }] as const;

function installed(name: string, version: string, description: string): string {
  return `Package: ${name}\nStatus: install ok installed\nMaintainer: Nobody <nobody@example.com>\nArchitecture: amd64\nVersion: ${version}\nDescription: ${description}\n\n`;
}

function lines(...text: readonly string[]): Buffer {
  return Buffer.from(`${text.join('\n')}\n`);
}

/** Contents by path. */
export const files: ReadonlyMap<string, Buffer> = new Map([
  [
    '/etc/os-release',
    lines('PRETTY_NAME="Ubuntu 24.04.1 LTS"', 'NAME="Ubuntu"', 'VERSION_ID="24.04"', 'ID=ubuntu', 'ID_LIKE=debian'),
  ],
  ['/etc/hostname', lines(HOSTNAME)],
  ['/etc/hosts', lines('127.0.0.1 localhost', `127.0.1.1 ${HOSTNAME}`)],
  [
    '/etc/fstab',
    lines(
      `${ROOT_VOLUME} / ext4 defaults 0 1`,
      'LABEL=boot /boot ext4 defaults 0 2',
      `${HOME_VOLUME} /home ext4 defaults 0 2`,
    ),
  ],
  ['/etc/passwd', lines('root:x:0:0:root:/root:/bin/sh', 'ada:x:1000:1000:Ada:/home/ada:/bin/sh')],
  [
    '/var/lib/dpkg/status',
    Buffer.from(
      [
        installed('base-files', '13ubuntu10', 'miscellaneous files'),
        installed('bash', '5.2.21-2ubuntu4', 'a shell'),
        installed('libguestfs0t64', '1:1.52.0-5', 'library to reach into disk images'),
      ].join(''),
    ),
  ],
  [
    '/var/log/syslog',
    lines(...Array.from({ length: 200 }, (_unused, index) => `tour kernel: [${index}.000000] line ${index}`)),
  ],
  ['/usr/bin/sh', tinyProgram()],
  ['/boot/grub.cfg', lines('set default=0')],
  ['/home/notes.txt', lines('Written over gRPC.')],
]);

/** Executable files. */
export const programs = ['/usr/bin/sh'] as const;
