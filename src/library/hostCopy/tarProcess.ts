/**
 * The server's own tar, which packs and unpacks for `copy_in` and `copy_out`.
 *
 * A guest may have crafted the archive that it unpacks. It therefore starts in an empty directory, where there is no
 * link to follow, and never with root's privileges: no devices, no files of others.
 */
import type { FileHandle } from 'node:fs/promises';
import { PassThrough, pipeline, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { GuestfsError } from '../../common/errors.js';
import { printable } from '../../common/guestText.js';
import type { StartedProcess } from '../../common/subprocess.js';
import { runJailed, startJailed } from '../../jail/jail.js';
import type { JailLimits, JailPlan } from '../../jail/jailArguments.js';
import { findProgram } from '../../jail/programFiles.js';

/** Maximum length of tar's output in an error, characters. */
const MAX_MESSAGE = 1000;

/** The user that unpacks for a server that runs as root: as root without capabilities tar would fail, since it relies on them. */
const NOBODY = 65534;
/** Makes a channel the standard input. */
const FROM_CHANNEL = ['-c', 'exec "$@" <&3', 'sh'];
const LIMITS: JailLimits = { data: 1 << 30, openFiles: 256 };
/** Capabilities to change owners in directories to which the owner may have no access. */
const CHANGE_OWNERS = ['CAP_CHOWN', 'CAP_DAC_READ_SEARCH'];

const TAKE_OVER_LIMIT_MS = 600_000;

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** A running tar. */
export interface Tar {
  readonly process: StartedProcess;
  /** Its standard output, which is kept until it is read, even if the process has ended by then. */
  readonly output: Readable;
  /** Resolves when it has finished; rejects with its error output if it failed. */
  finish(): Promise<void>;
  /** Kills it and waits for its exit. */
  abandon(): Promise<void>;
}

async function start(plan: JailPlan, channels: number, directory: number): Promise<Tar> {
  const started = await startJailed(plan, { channels, fds: [directory], env: { LC_ALL: 'C' } });
  const messages = text(started.outputs[1] as NodeJS.ReadableStream).catch(() => '');
  const output = new PassThrough();
  // An error is that of the process.
  pipeline(started.outputs[0] as Readable, output, () => undefined);
  return {
    ...{ process: started, output },
    finish: async () => {
      const { exitCode } = await started.exited;
      if (exitCode === 0) return;
      const output = printable((await messages).trim()).slice(0, MAX_MESSAGE);
      throw new GuestfsError(
        /No space left on device/.test(output) ? 'ENOSPC' : 'DAEMON_ERROR',
        `tar subprocess failed: ${output || 'it was killed'}`,
      );
    },
    abandon: async () => {
      started.kill('SIGKILL');
      await started.exited;
    },
  };
}

/** Starts packing a name in a directory; the archive is its standard output. */
export async function startPacking(directory: number, name: string): Promise<Tar> {
  const program = await findProgram('tar', 'tool');
  const args = ['-C', '/proc/self/fd/3', '-cf', '-', '--', name];
  return start({ program, args, user: undefined, limits: LIMITS }, 0, directory);
}

/** Starts unpacking an archive, written to its first channel, into an empty directory. */
export async function startUnpacking(directory: FileHandle): Promise<Tar> {
  if (isRoot()) await directory.chown(NOBODY, NOBODY);
  const options = ['--no-same-owner', '--no-same-permissions', '--no-acls', '--no-selinux', '--no-xattrs'];
  const [shell, tar] = await Promise.all([findProgram('sh', 'tool'), findProgram('tar', 'tool')]);
  const plan: JailPlan = {
    program: shell,
    args: [...FROM_CHANNEL, tar.path, '-C', '/proc/self/fd/4', ...options, '-xf', '-'],
    user: isRoot() ? { uid: NOBODY, gid: NOBODY } : undefined,
    ...{ places: tar.places, attributes: true, limits: LIMITS },
  };
  return start(plan, 1, directory.fd);
}

/** Changes the owner of the unpacked files to the server's user. */
export async function takeOver(directory: FileHandle, signal: AbortSignal): Promise<void> {
  if (!isRoot()) return;
  const owner = `${process.geteuid?.() ?? 0}:${process.getegid?.() ?? 0}`;
  const plan: JailPlan = {
    program: await findProgram('chown', 'tool'),
    args: ['-hR', '--', owner, '/proc/self/fd/3/.'],
    ...{ user: undefined, capabilities: CHANGE_OWNERS, attributes: true, limits: LIMITS },
  };
  const { exitCode, stderr } = await runJailed(plan, {
    fds: [directory.fd],
    timeoutMs: TAKE_OVER_LIMIT_MS,
    maxOutputBytes: 1 << 16,
    signal,
  });
  if (exitCode !== 0)
    throw new GuestfsError(
      'EIO',
      `the owner of the copied files cannot be changed: ${printable(stderr.trim()).slice(0, MAX_MESSAGE)}`,
    );
}
