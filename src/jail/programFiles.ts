/** The files of this machine that a program needs to run: its jail contains these and what the program is given. */
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { locateProgram } from '../common/locateProgram.js';

/** A place in a jail. */
export type Place =
  /** The file or directory at the same path, or another one, and what is below it, read-only. */
  | { readonly kind: 'read-only'; readonly path: string; readonly source?: string }
  /** An empty directory. */
  | { readonly kind: 'empty'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string };

/** Kinds of programs, by what they need in addition to their executable and libraries. */
export type ProgramKind = 'tool' | 'qemu' | 'python';

/** A program and the files that it needs. */
export interface Program {
  /** Absolute path without links. */
  readonly path: string;
  readonly places: readonly Place[];
}

/** Data and firmware of Debian's qemu packages. */
const QEMU_FILES = [
  '/usr/share/qemu',
  '/usr/share/seabios',
  '/usr/lib/ipxe',
  '/usr/share/edk2',
  '/usr/share/OVMF',
  '/usr/share/ovmf',
  '/usr/share/AAVMF',
  '/usr/share/qemu-efi-aarch64',
];

/** Files that the drivers of network drives read to resolve host names and to verify servers. */
export const NETWORK_FILES = [
  '/etc/resolv.conf',
  '/etc/hosts',
  '/etc/host.conf',
  '/etc/gai.conf',
  '/etc/nsswitch.conf',
  '/etc/services',
  '/etc/protocols',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/ca-certificates',
  '/etc/pki',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
];
/** ... those for SSH ... */
export const SSH_FILES = ['/etc/ssh/ssh_config', '/etc/ssh/ssh_config.d', '/etc/ssh/ssh_known_hosts', '/etc/libssh'];
/** ... and those for Ceph. */
export const CEPH_FILES = ['/etc/ceph'];

/** Where shared libraries are; on a multiarch system, only those of this architecture. */
const LIBRARY_DIRECTORIES: Readonly<Record<string, readonly string[]>> = {
  x64: ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/local/lib'],
  arm64: ['/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/local/lib'],
};
const ANY_LIBRARY_DIRECTORY = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
/** Links to /usr, or directories on systems without a merged /usr. */
const TOP_LIBRARIES = ['/lib', '/lib32', '/lib64'];
const TOP_PROGRAMS = ['/bin', '/sbin'];
/** Links with which Debian selects among alternative programs. */
const ALTERNATIVES = '/etc/alternatives';
const LOADER_CACHE = '/etc/ld.so.cache';
/** Number of parts that the path `/etc` splits into. */
const TOP_LEVEL = 2;
const SCRIPT = Buffer.from('#!');

/**
 * Finds a program and the files that it needs. A program of the system gets its libraries and its own files. One that
 * is installed elsewhere, by the operator or by a client with that permission, gets all of /usr, which is public on
 * every machine, and the files around it; a script gets all of /usr, and itself.
 * @throws Error with `code` ENOENT
 */
export async function findProgram(name: string, kind: ProgramKind): Promise<Program> {
  const path = await realpath(await locateProgram(name));
  const script = await isScript(path);
  if (path.startsWith('/usr/') && !script) {
    const own = kind === 'qemu' ? QEMU_FILES : kind === 'python' ? [pythonLibrary(path)] : [];
    return { path, places: [readOnly(path), ...systemLibraries(), ...own.filter(exists).map(readOnly)] };
  }
  const wide = [
    ...[readOnly('/usr'), ...[...TOP_LIBRARIES, ...TOP_PROGRAMS].flatMap(topPlace)],
    ...[...cache(), ...placesOf([ALTERNATIVES])],
  ];
  // qemu has its data in its own directory if it runs from its build tree, and next to that directory if installed.
  const around = script ? path : basename(dirname(path)) === 'bin' ? dirname(dirname(path)) : dirname(path);
  // Never a system directory or one shared by all users.
  const place = around.split('/').length > TOP_LEVEL ? around : path;
  return { path, places: [...wide, ...(path.startsWith('/usr/') ? [] : [readOnly(place)])] };
}

/** Places for those of the paths that exist. */
export function placesOf(paths: readonly string[]): Place[] {
  return paths.filter(exists).map(readOnly);
}

function systemLibraries(): Place[] {
  const known = LIBRARY_DIRECTORIES[process.arch] ?? [];
  const directories = known[0] !== undefined && exists(known[0]) ? known : ANY_LIBRARY_DIRECTORY;
  return [...placesOf(directories), ...TOP_LIBRARIES.flatMap(topPlace), ...cache()];
}

function cache(): Place[] {
  return placesOf([LOADER_CACHE]);
}

function topPlace(path: string): Place[] {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  return [found.isSymbolicLink() ? { kind: 'link', path, target: readlinkSync(path) } : readOnly(path)];
}

/** The modules of the Python at `/usr/bin/python3.N`. */
function pythonLibrary(path: string): string {
  return `/usr/lib/${basename(path)}`;
}

function readOnly(path: string): Place {
  return { kind: 'read-only', path };
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

async function isScript(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined);
  // A file that cannot be read, such as another user's program, is assumed not to be a script.
  if (file === undefined) return false;
  try {
    const start = Buffer.alloc(SCRIPT.length);
    await file.read(start, 0, start.length, 0);
    return start.equals(SCRIPT);
  } finally {
    await file.close();
  }
}
