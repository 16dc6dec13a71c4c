/** Paths that do not lead to an image of the client: every door refuses each of them, with one of these reasons. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Place } from './place.js';

export interface PathEscape {
  readonly name: string;
  readonly reasons: readonly string[];
  /** Prepares the client's directory, in ways that a client could; returns the path that the client sends. */
  readonly path: (place: Place) => string;
  /** Only root can prepare it. */
  readonly asRoot?: boolean;
}

const OUTSIDE = ['OUTSIDE_IMAGE_ROOTS'];
/** A directory that is missing, or a path that leads out of an existing one. */
const NOWHERE = ['OUTSIDE_IMAGE_ROOTS', 'IMAGE_MISSING', 'IMAGE_UNUSABLE'];
const UNUSABLE = ['IMAGE_UNUSABLE'];
/** Refused as an argument, before it is treated as a path. */
const MALFORMED = ['IMAGE_UNUSABLE', 'BAD_ARGUMENT', 'EINVAL'];

let links = 0;
function link(place: Place, target: string): string {
  const name = `link${links++}`;
  symlinkSync(target, join(place.root, name));
  return name;
}

const escape = (name: string, reasons: readonly string[], path: PathEscape['path']): PathEscape => ({
  name,
  reasons,
  path,
});

export const PATH_ESCAPES: readonly PathEscape[] = [
  // Names.
  escape('an absolute path', OUTSIDE, ({ raw }) => raw),
  escape('an absolute path of a disk image', OUTSIDE, ({ qcow2 }) => qcow2),
  escape('an absolute path of nothing', OUTSIDE, ({ outside }) => `${outside}/nothing`),
  escape('an absolute path below a file', OUTSIDE, ({ raw }) => `${raw}/x`),
  escape('a path with two slashes in front', OUTSIDE, ({ raw }) => `/${raw}`),
  escape('a path with slashes and dots in between', OUTSIDE, ({ raw }) => raw.replaceAll('/', '//./')),
  escape('a directory outside', OUTSIDE, ({ directory }) => directory),
  escape('the root directory', OUTSIDE, () => '/'),
  escape('a file of the system', OUTSIDE, () => '/etc/passwd'),
  escape('a file that only root may read', OUTSIDE, () => '/etc/shadow'),
  escape('dots', OUTSIDE, (place) => place.fromRoot(place.raw)),
  escape('dots to nothing', OUTSIDE, (place) => `${place.fromRoot(place.raw)}x`),
  escape('dots after the image root', OUTSIDE, (place) => `${place.root}/${place.fromRoot(place.raw)}`),
  escape('more dots than there are directories', OUTSIDE, ({ raw }) => `${'../'.repeat(60)}${raw.slice(1)}`),
  escape('dots after a directory of the client', OUTSIDE, (place) => {
    mkdirSync(join(place.root, 'sub'), { recursive: true });
    return `sub/../${place.fromRoot(place.raw)}`;
  }),
  escape('dots after a directory that is missing', NOWHERE, (place) => `missing/../${place.fromRoot(place.raw)}`),
  escape('dots after a file', NOWHERE, (place) => `${place.own('file.img')}/../${place.fromRoot(place.raw)}`),
  escape('only dots', OUTSIDE, () => '..'),
  escape('dots with a slash', OUTSIDE, () => '../'),
  escape('a name that begins like the image root', OUTSIDE, ({ root }) => `${root}-other/x.img`),
  escape('the directory around the image root', OUTSIDE, ({ root }) => dirname(root)),
  escape('dots in the encoding of URLs', NOWHERE, ({ outside }) => `%2e%2e/${basename(outside)}/nothing/canary.img`),
  escape('a path with backslashes', NOWHERE, ({ outside }) => `..\\${basename(outside)}/nothing/canary.img`),
  escape('a home directory', NOWHERE, () => '~/.ssh/id_rsa'),
  escape('a variable', NOWHERE, () => '$HOME/.ssh/id_rsa'),
  escape('a pattern', NOWHERE, ({ outside }) => `${dirname(outside)}/*/canary.img`),

  // Descriptors, devices, processes.
  ...[
    ...['/proc/self/fd/0', '/proc/self/fd/3', '/proc/self/exe', '/proc/self/mem', '/proc/self/environ', '/proc/1/root'],
    ...['/proc/self/root/etc/passwd', '/proc/self/cwd/package.json', '/proc/thread-self/fd/3', '/proc/kcore'],
    ...['/dev/fd/0', '/dev/fd/3', '/dev/stdin', '/dev/fdset/0', '/dev/fdset/1', '/dev/mem', '/dev/kvm', '/dev/zero'],
    ...['/dev/shm/x', '/dev/vda', '/dev/sda', '/dev/loop0', '/dev/disk/by-path/x', '/sys/power/state', '/run/x.sock'],
  ].map((path) => escape(path, OUTSIDE, () => path)),

  // NUL, long paths, and invalid names.
  escape('an empty path', MALFORMED, () => ''),
  escape('a NUL before the end', MALFORMED, (place) => `${place.own('nul.img')}\0.img`),
  escape('a NUL in a path outside', MALFORMED, ({ raw }) => `${raw}\0`),
  escape('a NUL and then dots', MALFORMED, (place) => `\0/${place.fromRoot(place.raw)}`),
  escape('a name of 300 bytes', UNUSABLE, () => 'n'.repeat(300)),
  escape('a path of 5,000 bytes', UNUSABLE, ({ raw }) => `${'./'.repeat(2500)}${raw}`),
  escape('a path of a megabyte', MALFORMED, () => 'x/'.repeat(1 << 19)),
  escape('a path of 5,000 bytes that is nearly all slashes', UNUSABLE, ({ raw }) => '/'.repeat(5000) + raw),

  // Links.
  escape('a link to a file outside', OUTSIDE, (place) => link(place, place.raw)),
  escape('a link to a disk image outside', OUTSIDE, (place) => link(place, place.qcow2)),
  escape('a relative link', OUTSIDE, (place) => link(place, place.fromRoot(place.raw))),
  escape('a link to a directory outside', OUTSIDE, (place) => `${link(place, place.outside)}/canary.img`),
  escape(
    'a link to a directory outside, and a new name',
    OUTSIDE,
    (place) => `${link(place, place.directory)}/new.img`,
  ),
  escape('a link to nothing outside', OUTSIDE, (place) => link(place, join(place.directory, 'new.img'))),
  escape('a link to the root directory', OUTSIDE, (place) => `${link(place, '/')}/etc/passwd`),
  escape('a link to a link', OUTSIDE, (place) => link(place, link(place, place.raw))),
  escape('a link to a descriptor', OUTSIDE, (place) => link(place, '/proc/self/fd/3')),
  escape('a link to a process', OUTSIDE, (place) => `${link(place, '/proc/self')}/environ`),
  escape('a link to a device', OUTSIDE, (place) => link(place, '/dev/zero')),
  escape('a link out of the image root and back by dots', OUTSIDE, (place) => {
    return `${link(place, place.outside)}/../${basename(place.root)}/${place.own('back.img')}`;
  }),
  escape('a link to dots', OUTSIDE, (place) => `${link(place, '..')}/${basename(place.outside)}/canary.img`),
  escape('a link to itself', UNUSABLE, ({ root }) => {
    symlinkSync('circle', join(root, 'circle'));
    return 'circle';
  }),
  escape('links in a circle', UNUSABLE, ({ root }) => {
    symlinkSync('round/x', join(root, 'about'));
    symlinkSync('about', join(root, 'round'));
    return 'round';
  }),
  escape('fifty links in a row', UNUSABLE, (place) => {
    let name = place.own('end.img');
    for (let count = 0; count < 50; count += 1) name = link(place, name);
    return name;
  }),

  // Other than regular files.
  escape('the image root itself', UNUSABLE, () => '.'),
  escape('the image root by its path', UNUSABLE, ({ root }) => root),
  escape('a directory', UNUSABLE, ({ root }) => {
    mkdirSync(join(root, 'directory'));
    return 'directory';
  }),
  escape('a file with a slash', NOWHERE, (place) => `${place.own('slash.img')}/x`),
  escape('a FIFO', UNUSABLE, ({ root }) => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    return 'pipe';
  }),
  escape('a link to a FIFO', UNUSABLE, (place) => link(place, 'pipe')),
  escape('a socket', UNUSABLE, ({ root }) => {
    const script = 'import socket, sys; socket.socket(socket.AF_UNIX).bind("socket")';
    execFileSync('python3', ['-c', script], { cwd: root });
    return 'socket';
  }),
  { ...escape('a character device', UNUSABLE, ({ root }) => node(root, 'c', 1, 5)), asRoot: true },
  { ...escape('the terminal', UNUSABLE, ({ root }) => node(root, 'c', 5, 0)), asRoot: true },
  { ...escape('a block device', ['NOT_ALLOWED'], ({ root }) => node(root, 'b', 7, 0)), asRoot: true },

  // Special to qemu, but here just names of files in a directory that is missing.
  ...[
    ...['nbd://127.0.0.1:10809/', 'nbd:127.0.0.1:10809', 'nbd:unix:/run/x.sock', 'nbd+unix:///?socket=/run/x.sock'],
    ...['http://127.0.0.1/x', 'https://127.0.0.1/x', 'ftp://127.0.0.1/x', 'ssh://127.0.0.1/x', 'iscsi://127.0.0.1/x/0'],
    ...['rbd:pool/image', 'gluster://127.0.0.1/volume/x', 'nfs://127.0.0.1/x', 'fat:/etc', 'fat:rw:/etc'],
    ...['vvfat:rw:/etc', 'blkdebug:config:/etc/passwd', 'blkverify:raw:x', 'quorum:x', 'null-co://', 'null-aio://'],
    ...['host_device:/dev/vda', 'fd:3', 'file:/etc/passwd', 'file:///etc/passwd', 'file:../x', 'raw:/etc/passwd'],
    ...['json:{"driver":"file","filename":"/etc/passwd"}', 'json:{"driver":"null-co","size":"1M"}'],
    ...['json:{"driver":"raw","file":{"driver":"nbd","host":"127.0.0.1"}}', 'exec:cat /etc/passwd', '|cat /etc/passwd'],
  ].map((path) => escape(path, NOWHERE, () => (path.includes('/') ? path : `missing/${path}`))),
];

function node(root: string, type: string, major: number, minor: number): string {
  const name = `node-${type}-${major}-${minor}`;
  execFileSync('mknod', ['-m', '666', join(root, name), type, String(major), String(minor)]);
  return name;
}
