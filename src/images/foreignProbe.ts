/**
 * Asks qemu about images in formats that only qemu understands.
 *
 * Parsers of such formats are what attackers aim at, so the one that runs here has
 * nothing to give: no right on any file but the one open image, no other user's
 * rights, qemu's system call filter, 1 GiB of memory, 10 s of processor time.
 * `qemu-img` cannot be run so: it takes a path only, and opening `/dev/fd/N`
 * needs a right on the image again. So the emulator itself, without a machine,
 * opens the descriptor as it would for a drive, and says what it sees.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';
import { runTool } from '../common/subprocess.js';
import type { OpenImage } from '../security/pathPolicy.js';
import { BACKED_FORMATS, type ImageFormat } from './formats.js';

/**
 * @returns bytes that a guest would see
 * @throws GuestfsError `IMAGE_UNUSABLE` when qemu cannot open the image in that format
 */
export type ForeignImageProbe = (image: OpenImage, format: ImageFormat, subject: string, signal: AbortSignal) => Promise<bigint>;

/** What a probe runs with. */
export interface ProbeSettings {
  /** Name or path of a qemu system emulator. */
  readonly qemuBinary: string;
  /** Unprivileged user for it, when the server is root. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** The emulator's `-sandbox` works; taken as true when left out. */
  readonly sandbox?: boolean;
}

const MEMORY_BYTES = 1 << 30;
const CPU_SECONDS = 10;
const WALL_CLOCK_MS = 30_000;
const MAX_OUTPUT_BYTES = 1 << 20;
/** Each takes a processor for 50 ms: more at a time only fight. */
const MAX_PARALLEL = 2;

/** Makes a probe. */
export function createForeignProbe(settings: ProbeSettings): ForeignImageProbe {
  const limit = limiter(MAX_PARALLEL);
  return (image, format, subject, signal) =>
    limit(async () => {
      signal.throwIfAborted();
      // To read, qemu wants a descriptor that cannot write, whatever the image was opened for.
      const reader = await open(`/proc/self/fd/${image.handle.fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        const [command, ...args] = commandLine(settings);
        const result = await runTool(command as string, args, {
          input: commands(image.kind, format),
          fds: [reader.fd],
          timeoutMs: WALL_CLOCK_MS,
          maxOutputBytes: MAX_OUTPUT_BYTES,
          signal,
        });
        if (result.overLimit) throw refuse(subject, format, 'reading it takes too long');
        return sizeFrom(result.stdout, subject, format, result.stderr);
      } finally {
        await reader.close();
      }
    });
}

/** The command in full, for a descriptor 3. */
function commandLine({ qemuBinary, user, sandbox = true }: ProbeSettings): string[] {
  return [
    ...['prlimit', `--as=${MEMORY_BYTES}`, `--cpu=${CPU_SECONDS}`, '--core=0'],
    ...(user === undefined ? [] : ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--no-new-privs']),
    ...[qemuBinary, '-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    // Its translation buffer alone would be a gigabyte.
    ...['-accel', 'tcg,tb-size=1'],
    ...(sandbox ? ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'] : []),
    ...['-add-fd', 'fd=3,set=1', '-qmp', 'stdio'],
  ];
}

function commands(kind: OpenImage['kind'], format: ImageFormat): string {
  const file = { driver: kind === 'block' ? 'host_device' : 'file', filename: '/dev/fdset/1', 'node-name': 'file', 'read-only': true, locking: 'off' };
  const image = { driver: format, file: 'file', 'node-name': 'image', 'read-only': true, ...(BACKED_FORMATS.has(format) ? { backing: null } : {}) };
  return [
    { execute: 'qmp_capabilities' },
    { execute: 'blockdev-add', arguments: file },
    { execute: 'blockdev-add', arguments: image },
    { execute: 'query-named-block-nodes', arguments: { flat: true } },
    { execute: 'quit' },
  ]
    .map((command) => JSON.stringify(command))
    .join('\n');
}

function sizeFrom(output: string, subject: string, format: ImageFormat, messages: string): bigint {
  const answers = output.split('\n').flatMap((line) => parseLine(line));
  for (const answer of answers) {
    if (typeof answer.error?.desc === 'string') throw refuse(subject, format, answer.error.desc.replaceAll('/dev/fdset/1', 'it').slice(0, 300));
  }
  for (const answer of answers) {
    if (!Array.isArray(answer.return)) continue;
    const node = (answer.return as { 'node-name'?: unknown; image?: { 'virtual-size'?: unknown } }[]).find((one) => one['node-name'] === 'image');
    const size = node?.image?.['virtual-size'];
    if (typeof size === 'number' && size >= 0 && Number.isSafeInteger(size)) return BigInt(size);
  }
  // Killed by a limit, or no emulator at all.
  throw refuse(subject, format, messages.trim().split('\n').at(-1)?.slice(0, 200) || 'qemu gave up on it');
}

interface Answer {
  readonly error?: { readonly desc?: unknown };
  readonly return?: unknown;
}

function parseLine(line: string): Answer[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? [value] : [];
  } catch {
    return [];
  }
}

function refuse(subject: string, format: ImageFormat, why: string): GuestfsError {
  return new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be opened in format '${format}': ${why}`);
}

/** Runs at most `parallel` of the tasks it is given at a time. */
function limiter(parallel: number): <T>(task: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (running >= parallel) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
