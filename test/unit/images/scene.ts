/** Directories and images for tests of drives. */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
  truncateSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import type { Drive } from '../../../src/images/drive.js';
import { rawMarks } from '../../../src/images/rawMarks.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';

// Each image takes a run of qemu-img, and the machine may be busy.
jest.setTimeout(60_000);

/** An image root `in`, a directory `out` outside of it, and `run` for temporary disks. */
export interface Scene {
  readonly base: string;
  readonly root: string;
  readonly outside: string;
  readonly run: string;
  remove(): void;
}

// The process that marks files is started with the first image. Started here, it does not count as a leak of a test.
const warm = await open('/dev/null');
await rawMarks.isMarked({ handle: warm, identity: 'file 0:0', kind: 'file' });
await warm.close();

/** Those of the scene that was made last. */
let roots: ImageRoots = { directories: [] };

export function makeScene(): Scene {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'images-')));
  const [root, outside, run] = ['in', 'out', 'run'].map((name) => join(base, name)) as [string, string, string];
  for (const directory of [root, outside, run]) mkdirSync(directory);
  roots = { directories: [root], backingFiles: true };
  return { base, root, outside, run, remove: () => rmSync(base, { recursive: true, force: true }) };
}

/** Runs `qemu-img` with words. */
export function qemuImg(...args: readonly string[]): string {
  return execFileSync('qemu-img', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export function rawImage(path: string, bytes: number): string {
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

export function qcow2Image(path: string, size: string, ...options: readonly string[]): string {
  qemuImg('create', '-q', '-f', 'qcow2', ...options, path, size);
  return path;
}

/** A qcow2 image that names a backing file, existing or not; `format` null: without stating its format. */
export function overlayImage(path: string, backing: string, format: string | null = 'raw', size = '1M'): string {
  qemuImg('create', '-q', '-f', 'qcow2', '-u', '-b', backing, '-F', format ?? 'raw', path, size);
  if (format === null) {
    // qemu-img no longer creates images without a backing format, so the field's type is made unknown.
    const image = readFileSync(path);
    image.writeUInt32BE(0x11111111, image.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca])));
    writeFileSync(path, image);
  }
  return path;
}

/** A drive as in a session. */
export function fileDrive(path: string, options: Partial<Drive> = {}): Drive {
  return { ...DEFAULTS, source: { kind: 'file', path, name: path, roots }, ...options };
}

/** The source for an NBD server at an address such as `127.0.0.1:10809`. */
export function nbdDrive(address: string, options: Partial<Drive> = {}): Drive {
  const [host, port] = address.split(':') as [string, string];
  const remote = {
    protocol: 'nbd',
    servers: [{ transport: 'tcp', host, port: Number(port) }],
    name: '',
    username: undefined,
    secret: undefined,
  } as const;
  return { ...DEFAULTS, format: 'raw', source: { kind: 'remote', remote, roots }, ...options };
}

export function scratchDrive(size: bigint, options: Partial<Drive> = {}): Drive {
  return { ...DEFAULTS, source: { kind: 'scratch', size }, readonly: false, ...options };
}

const DEFAULTS = {
  format: undefined,
  readonly: true,
  label: undefined,
  cacheMode: 'writeback',
  discard: 'disable',
  copyOnRead: false,
  blockSize: undefined,
} as const;

/** The error that a promise rejects with, which must be one for clients. */
export async function errorOf(promise: Promise<unknown>): Promise<GuestfsError> {
  const error = await promise.then(
    () => new Error('nothing was thrown'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof GuestfsError) return error;
  throw error;
}

/** How many files this process has open, without those of the test runner, which loads modules at any time. */
export function openFiles(): number {
  return readdirSync('/proc/self/fd').filter((fd) => !targetOf(fd).startsWith(process.cwd())).length;
}

/** Empty for a descriptor that has just been closed. */
function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return process.cwd();
  }
}
