/**
 * Which files of the host may be used as disk images.
 *
 * Every file named by a client or by an image's header goes through {@link openImage}. It resolves a path component by
 * component, instead of leaving that to the kernel: a link that leads out of the image roots is refused without
 * accessing its target, so no answer reveals whether a file elsewhere exists. The location of the open file is then
 * checked again on the descriptor, so swapping a directory in between has no effect.
 */
import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { GuestfsError } from '../common/errors.js';
import { printableName } from '../common/guestText.js';

/** Where images may be. */
export interface ImageRoots {
  /** Directories; a relative image path is searched in each, in this order. */
  readonly directories: readonly string[];
  /** Those of them in which nothing may be written. If roots are nested, the innermost one decides. */
  readonly readOnly?: ReadonlySet<string>;
  /**
   * A directory that is reached through a link does not count as a root: otherwise a client that can write next to it
   * could choose where the link leads.
   */
  readonly withoutLinks?: boolean;
  /** Where the images of all clients are, if this client may not use all of these directories. */
  readonly ofAll?: readonly string[];
  /** Whether block devices under the roots count as images. */
  readonly blockDevices?: boolean;
  /** Whether images may refer to other files under the roots: backing files and data files. */
  readonly backingFiles?: boolean;
}

/** The intended access to an image. */
export type ImageAccess = 'read-only' | 'read-write';

/** An open image under an image root. */
export interface OpenImage {
  readonly handle: FileHandle;
  /** Its real path, without links. */
  readonly path: string;
  /** Identifies the file itself: the same for all its names. */
  readonly identity: string;
  readonly kind: 'file' | 'block';
  /** Size in bytes; for a block device, its capacity. */
  readonly size: bigint;
}

/** The kernel's own limit. */
const MAX_LINKS = 40;

/** How messages name an image; `name` is quoted as its author wrote it. */
export interface ImageNaming {
  /** `image 'a.qcow2'`, or `backing file 'b' of image 'a'`. */
  readonly subject: string;
}

/** For an image named by the client. */
export function naming(path: string): ImageNaming {
  return { subject: `image '${printableName(path)}'` };
}

/**
 * Finds the file at `path`, without opening it.
 *
 * @param path as the client wrote it: absolute, or relative to an image root
 * @returns its real absolute path
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING` or `IMAGE_UNUSABLE`
 */
export async function resolveImagePath(
  path: string,
  roots: ImageRoots,
  name: ImageNaming = naming(path),
): Promise<string> {
  checkSyntax(path, name);
  const realRoots = await findRoots(roots);
  if (isAbsolute(path)) return walk(enter(path, realRoots, name), realRoots, name);
  let notThere: GuestfsError | undefined;
  for (const root of realRoots) {
    try {
      return await walk({ at: root.real, names: split(path) }, realRoots, name);
    } catch (error) {
      // Only if the file does not exist is the next root tried; any other result is final.
      if (!(error instanceof GuestfsError) || error.reason !== 'IMAGE_MISSING') throw error;
      notThere ??= error;
    }
  }
  throw notThere ?? outside(name);
}

/**
 * Finds and opens an image.
 *
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING` or `IMAGE_UNUSABLE`
 */
export async function openImage(
  path: string,
  roots: ImageRoots,
  access: ImageAccess,
  name: ImageNaming = naming(path),
): Promise<OpenImage> {
  const resolved = await resolveImagePath(path, roots, name);
  const found = await lstat(resolved).catch((error: unknown) => {
    throw openFailure(error, access, name);
  });
  // Before the open: opening a pipe or a device can already have an effect.
  kindOf(found, roots, name);
  if (access === 'read-write') await requireWritable(resolved, roots, name);
  const flags = access === 'read-write' ? constants.O_RDWR : constants.O_RDONLY;
  const handle = await open(resolved, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY).catch(
    (error: unknown) => {
      throw openFailure(error, access, name);
    },
  );
  try {
    const reached = await checkReached(handle, roots, name);
    if (access === 'read-write') await requireWritable(reached, roots, name);
    const opened = await handle.stat({ bigint: true });
    const kind = kindOf(opened, roots, name);
    const size = kind === 'block' ? await blockDeviceSize(opened.rdev, name) : opened.size;
    return { handle, path: reached, identity: identityOf(opened, kind), kind, size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A file that will become an image, open for reading and writing. */
export interface CreatedImage extends OpenImage {
  /** The file did not exist before. */
  readonly created: boolean;
}

/**
 * Opens the file in which an image will be created, under the image roots; an existing
 * file is not changed.
 *
 * @param overwrite whether the file may already exist
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING` (its directory), `IMAGE_UNUSABLE`, `NOT_ALLOWED` or
 *   `EEXIST`
 */
export async function createImageFile(path: string, roots: ImageRoots, overwrite: boolean): Promise<CreatedImage> {
  const name = naming(path);
  try {
    const existing = await openImage(path, roots, 'read-write', name);
    if (overwrite) return { ...existing, created: false };
    await existing.handle.close();
    throw new GuestfsError('EEXIST', `${name.subject} already exists: set overwrite to replace its content`);
  } catch (error) {
    if (!(error instanceof GuestfsError) || error.reason !== 'IMAGE_MISSING') throw error;
  }
  const last = basename(path);
  if (last === '' || last === '.' || last === '..' || path.endsWith('/'))
    throw unusable(name, 'cannot be created: the path does not end in a file name');
  const parent = await resolveImagePath(dirname(path), roots, { subject: `the directory of ${name.subject}` });
  const directory = await open(parent, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch(
    (error: unknown) => {
      throw openFailure(error, 'read-write', name);
    },
  );
  try {
    await requireWritable(join(await checkReached(directory, roots, name), last), roots, name);
    // Through the open directory, so that the file cannot end up in another one.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const handle = await open(`/proc/self/fd/${directory.fd}/${last}`, flags, 0o666).catch((error: unknown) => {
      throw openFailure(error, 'read-write', name);
    });
    const identity = identityOf(await handle.stat({ bigint: true }), 'file');
    return { handle, path: join(parent, last), identity, kind: 'file', size: 0n, created: true };
  } finally {
    await directory.close();
  }
}

/** `O_PATH` of Linux: a reference to a file that permits no I/O. */
export const O_PATH = 0o10000000;

/** For a socket named by the client. */
function namingSocket(path: string): ImageNaming {
  return { subject: `socket '${printableName(path)}'` };
}

/**
 * Finds the Unix socket at `path`; the same rules apply as for images.
 *
 * @returns its real absolute path
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING` or `IMAGE_UNUSABLE`
 */
export async function resolveSocketPath(path: string, roots: ImageRoots): Promise<string> {
  const handle = await openSocket(path, roots);
  try {
    return await readlink(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle.close();
  }
}

/**
 * Finds a Unix socket and keeps it open: connect to `/proc/self/fd/N` of the handle, which stays valid
 * whatever happens to the name.
 *
 * @throws GuestfsError `OUTSIDE_IMAGE_ROOTS`, `IMAGE_MISSING` or `IMAGE_UNUSABLE`
 */
export async function openSocket(path: string, roots: ImageRoots): Promise<FileHandle> {
  const name = namingSocket(path);
  const resolved = await resolveImagePath(path, roots, name);
  const handle = await open(resolved, O_PATH | constants.O_NOFOLLOW).catch((error: unknown) => {
    throw openFailure(error, 'read-only', name);
  });
  try {
    // Whoever listens there can act on the client's commands, which may write.
    await requireWritable(await checkReached(handle, roots, name), roots, name);
    if (!(await handle.stat()).isSocket()) throw unusable(name, 'is not a socket');
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The real path of an open file, which must be under a root. */
async function checkReached(handle: FileHandle, roots: ImageRoots, name: ImageNaming): Promise<string> {
  const reached = await readlink(`/proc/self/fd/${handle.fd}`);
  if (!(await findRoots(roots)).some((root) => isUnder(reached, root.real))) throw outside(name);
  return reached;
}

/**
 * Requires that the file at a real path may be written.
 * @throws GuestfsError NOT_ALLOWED
 */
export async function requireWritable(path: string, roots: ImageRoots, name: ImageNaming): Promise<void> {
  if (roots.readOnly === undefined || roots.readOnly.size === 0) return;
  const around = (await findRoots(roots)).filter((root) => isUnder(path, root.real));
  const innermost = Math.max(...around.map((root) => root.real.length));
  if (around.some((root) => root.real.length === innermost && !root.readOnly)) return;
  throw readOnly(name);
}

/**
 * Requires that everything in the directory at a real path may be written.
 * @throws GuestfsError NOT_ALLOWED
 */
export async function requireWritableTree(path: string, roots: ImageRoots, name: ImageNaming): Promise<void> {
  await requireWritable(path, roots, name);
  if ((await findRoots(roots)).some((root) => root.readOnly && root.real !== path && isUnder(root.real, path)))
    throw readOnly(name);
}

/** A real path under an image root, relative to it. */
export async function nameUnderRoots(path: string, roots: ImageRoots): Promise<string> {
  const around = (await findRoots(roots)).filter((root) => isUnder(path, root.real));
  const outermost = around.reduce((shortest, { real }) => (real.length < shortest.length ? real : shortest), path);
  return relative(outermost, path);
}

/**
 * Requires that a path of the host, which is not that of an image, leads to nothing among the images of other clients.
 * @throws GuestfsError OUTSIDE_IMAGE_ROOTS
 */
export async function requireNotOfOthers(
  path: string,
  roots: ImageRoots,
  access: ImageAccess,
  name: ImageNaming,
): Promise<void> {
  const { ofAll = [] } = roots;
  if (ofAll.length === 0) return;
  const real = await realpath(path).catch(() => undefined);
  const within = await Promise.all(ofAll.map((directory) => realpath(directory).catch(() => directory)));
  // What is not there could be made a link later.
  const amongImages = [resolve(path), real ?? path].some((one) =>
    [...ofAll, ...within].some((directory) => isUnder(one, directory)),
  );
  if (!amongImages) return;
  if (real === undefined || !(await findRoots(roots)).some((root) => isUnder(real, root.real))) throw outside(name);
  if (access === 'read-write') await requireWritable(real, roots, name);
}

/** Where a client may write: real paths. */
export interface WritableDirectories {
  readonly directories: readonly string[];
  /** Directories in them in which nothing may be written. */
  readonly readOnly: readonly string[];
}

/** The image roots that exist, by what may be done in them. */
export async function writableDirectories(roots: ImageRoots): Promise<WritableDirectories> {
  const found = await findRoots(roots);
  const paths = (readOnly: boolean): string[] => [
    ...new Set(found.filter((root) => root.readOnly === readOnly).map((root) => root.real)),
  ];
  return { directories: paths(false), readOnly: paths(true) };
}

interface Root {
  /** The path as configured, split into names. */
  readonly names: readonly string[];
  readonly real: string;
  readonly realNames: readonly string[];
  readonly readOnly: boolean;
}

/** Roots that currently exist; a missing one has no images. */
async function findRoots(roots: ImageRoots): Promise<Root[]> {
  const found: Root[] = [];
  for (const configured of roots.directories) {
    const directory = resolve(configured);
    const real = await realpath(directory).catch(() => undefined);
    if (real === undefined || (roots.withoutLinks === true && real !== directory)) continue;
    const readOnly = roots.readOnly?.has(configured) ?? false;
    found.push({ names: split(directory), real, realNames: split(real), readOnly });
  }
  return found;
}

interface Position {
  /** Real directory under a root. */
  readonly at: string;
  /** Names still to be resolved from there. */
  readonly names: string[];
}

/** Where an absolute path enters the roots, judged by names only: nothing outside the roots is accessed. */
function enter(path: string, roots: readonly Root[], name: ImageNaming): Position {
  const names = split(path);
  for (const root of roots) {
    for (const prefix of [root.names, root.realNames]) {
      if (prefix.every((part, index) => names[index] === part))
        return { at: root.real, names: names.slice(prefix.length) };
    }
  }
  throw outside(name);
}

/** Follows names and links from a directory under a root, never leaving the roots. */
async function walk(start: Position, roots: readonly Root[], name: ImageNaming): Promise<string> {
  let at = start.at;
  let names = [...start.names];
  let links = 0;
  while (names.length > 0) {
    const next = names.shift() as string;
    if (next === '..') {
      at = dirname(at);
      if (!roots.some((root) => isUnder(at, root.real))) {
        // Out of one root, perhaps into another; `at` contains no link, so the name alone decides.
        for (; names[0] === '..'; names.shift()) at = dirname(at);
        ({ at, names } = enter([at, ...names].join('/'), roots, name));
      }
      continue;
    }
    const path = join(at, next);
    const found = await lstat(path).catch((error: unknown) => {
      throw openFailure(error, 'read-only', name);
    });
    if (!found.isSymbolicLink()) {
      if (names.length > 0 && !found.isDirectory()) throw missing(name);
      at = path;
      continue;
    }
    if (++links > MAX_LINKS) throw unusable(name, 'goes through too many symbolic links');
    const target = await readlink(path).catch((error: unknown) => {
      throw openFailure(error, 'read-only', name);
    });
    if (isAbsolute(target)) {
      ({ at, names } = enter([target, ...names].join('/'), roots, name));
    } else {
      names = [...split(target), ...names];
    }
  }
  return at;
}

function checkSyntax(path: string, name: ImageNaming): void {
  if (path === '') throw unusable(name, 'cannot be attached: the path is empty');
  if (path.includes('\0')) throw unusable(name, 'cannot be attached: the path contains a NUL character');
  if (Buffer.byteLength(path) > 4096) throw unusable(name, 'cannot be attached: the path is longer than 4096 bytes');
}

interface FileKind {
  isFile(): boolean;
  isBlockDevice(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

function kindOf(stats: FileKind, roots: ImageRoots, name: ImageNaming): 'file' | 'block' {
  if (stats.isFile()) return 'file';
  if (stats.isBlockDevice()) {
    if (roots.blockDevices === true) return 'block';
    throw new GuestfsError(
      'NOT_ALLOWED',
      `${name.subject} is a block device, which this server does not attach; its operator can allow it with --allow block-devices`,
      {
        metadata: { setting: '--allow block-devices' },
      },
    );
  }
  const what = stats.isDirectory()
    ? 'directory'
    : stats.isFIFO()
      ? 'named pipe'
      : stats.isSocket()
        ? 'socket'
        : 'device';
  throw unusable(name, `is a ${what}, not a disk image`);
}

/** Names a file, or a directory, as {@link OpenImage.identity} does. */
export function fileIdentity(stats: BigIntStats): string {
  return `file ${stats.dev}:${stats.ino}`;
}

/** A block device is identified by its number, since it may have several inodes. */
function identityOf(stats: BigIntStats, kind: OpenImage['kind']): string {
  return kind === 'block' ? `block ${stats.rdev}` : fileIdentity(stats);
}

/** A block device's inode has no size; the kernel reports it in 512-byte sectors, regardless of the device's sector size. */
async function blockDeviceSize(device: bigint, name: ImageNaming): Promise<bigint> {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  const file = await open(`/sys/dev/block/${major}:${minor}/size`).catch((cause: unknown) => {
    throw unusable(name, 'is a block device of unknown size', cause);
  });
  try {
    return BigInt((await file.readFile('latin1')).trim()) * 512n;
  } finally {
    await file.close();
  }
}

function isUnder(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith('/') ? directory : `${directory}/`);
}

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function outside(name: ImageNaming): GuestfsError {
  return new GuestfsError(
    'OUTSIDE_IMAGE_ROOTS',
    `${name.subject} is not under an image root: drives, and every file that an image refers to, must be in the directories that the server was given with --image-root`,
  );
}

function readOnly(name: ImageNaming): GuestfsError {
  return new GuestfsError(
    'NOT_ALLOWED',
    `${name.subject} may be read only: the server's policy lets this client write nothing there`,
  );
}

function missing(name: ImageNaming): GuestfsError {
  return new GuestfsError('IMAGE_MISSING', `${name.subject} does not exist under the server's image roots`);
}

function unusable(name: ImageNaming, why: string, cause?: unknown): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${name.subject} ${why}`, { cause });
}

/** The error for a failed system call under the roots. */
function openFailure(error: unknown, access: ImageAccess, name: ImageNaming): unknown {
  const code = systemErrorCode(error);
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return missing(name);
    case 'ELOOP':
      // The last name became a link after it was checked.
      return outside(name);
    case 'EACCES':
    case 'EPERM':
      return unusable(
        name,
        access === 'read-write'
          ? 'cannot be opened for writing: the server lacks permission; attach it read-only or change its permissions'
          : 'cannot be read: the server lacks permission',
        error,
      );
    case 'EINVAL':
      // It was a link when it was looked at.
      return unusable(name, 'has changed while it was opened', error);
    case 'EEXIST':
      return unusable(name, 'cannot be created: a dangling symbolic link is in its place', error);
    case 'ENOSPC':
    case 'EDQUOT':
      return new GuestfsError(code, `${name.subject} cannot be created: the server has no space left for it`, {
        cause: error,
      });
    case 'EROFS':
      return unusable(name, 'is on a read-only file system: attach it read-only', error);
    case 'ENAMETOOLONG':
      return unusable(name, 'cannot be attached: its name is too long', error);
    case 'ETXTBSY':
      return unusable(name, 'is being executed and cannot be opened for writing', error);
    case undefined:
      return error;
    default:
      return unusable(name, `cannot be opened: ${code}`, error);
  }
}

/** The name of the errno of a failed system call. */
export function systemErrorCode(error: unknown): string | undefined {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}
