/**
 * Probes a remote image for its size and first bytes before the launch: by a qemu without a machine and without a
 * network, which reads the bytes that another process provides.
 */
import { stat } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';
import { FairSemaphore } from '../common/fairSemaphore.js';
import { BACKED_FORMATS, type ImageFormat } from './formats.js';
import { runIsolatedQemu, type IsolatedRun } from './isolatedQemu.js';
import { exportNode } from './exportNode.js';
import type { RemoteExport } from './remoteExport.js';
import { createUnnamedFile } from './temporaryDisk.js';

/** Any reachable server answers sooner. */
const WALL_CLOCK_MS = 20_000;
const MEMORY_BYTES = 4 * 2 ** 30;
/** The only descriptor that the probing qemu inherits. */
const SOCKET_FD = 3;

/** Each probe is a process, which a server that does not answer keeps waiting. */
const turns = new FairSemaphore({
  parallel: 16,
  perClient: 8,
  waiting: 1024,
  limit: 'network-probes-waiting',
  tasks: 'network drives to be probed',
});

/** What to read: the raw bytes, or the contents of the image in a format. */
export interface RemoteQuestion {
  /** How many bytes to read from the start; by default none. */
  readonly headLength?: number;
  /** A format whose images refer to no file but a backing image, which is not opened; by default `raw`. */
  readonly format?: ImageFormat;
}

/** What was found. */
export interface RemoteAnswer {
  /** Size in bytes, in whole sectors; in a format other than raw, the virtual size. */
  readonly size: bigint;
  /** The first bytes, as many as requested; undefined if there are fewer. */
  readonly head: Buffer | undefined;
}

/**
 * Probes one remote image.
 * @throws GuestfsError `IMAGE_UNUSABLE` naming the drive, or the reason of the drive's signal
 */
export type AskRemote = (question: RemoteQuestion) => Promise<RemoteAnswer>;

/** A drive whose remote image is probed. */
export interface AskedDrive {
  readonly bytes: RemoteExport;
  /** How messages refer to the drive. */
  readonly subject: string;
  /** Prefix of file names. */
  readonly name: string;
  /** Absolute path of the machine's qemu. */
  readonly qemuBinary: string;
  /** Run directory of the machine; qemu runs as its owner. */
  readonly runDirectory: string;
  readonly signal: AbortSignal;
}

/** Creates the probe for a drive; it waits while many others are running. */
export function remoteAsker(drive: AskedDrive): AskRemote {
  return async ({ headLength, format = 'raw' }) => {
    if (headLength === undefined && format === 'raw') return { size: drive.bytes.size, head: undefined };
    return turns.run(() => ask(drive, format, headLength), drive.signal);
  };
}

async function ask(drive: AskedDrive, format: ImageFormat, length: number | undefined): Promise<RemoteAnswer> {
  if (length === undefined) return askQemu(drive, format, undefined);
  const file = await createUnnamedFile(drive.runDirectory, `${drive.name}.printed`);
  try {
    return await askQemu(drive, format, { length, file });
  } finally {
    await file.close();
  }
}

async function askQemu(
  { bytes, subject, qemuBinary, runDirectory, signal }: AskedDrive,
  format: ImageFormat,
  wanted: IsolatedRun['head'],
): Promise<RemoteAnswer> {
  const { uid, gid } = await stat(runDirectory);
  const refuse = (why: string): GuestfsError =>
    new GuestfsError(
      'IMAGE_UNUSABLE',
      `${subject} cannot be opened${format === 'raw' ? '' : ` in format '${format}'`}: ${why}`,
    );
  const socket = await bytes.connect();
  try {
    const node = exportNode(String(SOCKET_FD), format === 'raw' ? 'image' : 'bytes', { 'read-only': true });
    const image = {
      ...{ driver: format, 'node-name': 'image', file: 'bytes', 'read-only': true },
      ...(BACKED_FORMATS.has(format) ? { backing: null } : {}),
    };
    const { overLimit, failure, size, head, lastMessage } = await runIsolatedQemu(
      { qemuBinary, user: uid === process.geteuid?.() ? undefined : { uid, gid } },
      {
        // A descriptor can be referred to by its number on the command line only.
        args: ['-blockdev', JSON.stringify(node)],
        commands: format === 'raw' ? [] : [{ execute: 'blockdev-add', arguments: image }],
        fds: [socket.fd],
        ...(wanted === undefined ? {} : { head: wanted }),
        ...{ memoryBytes: MEMORY_BYTES, wallClockMs: WALL_CLOCK_MS, signal },
      },
    );
    if (overLimit) throw refuse(`the server did not answer within ${WALL_CLOCK_MS / 1000} s`);
    if (failure !== undefined) throw refuse(failure.slice(0, 300));
    if (size === undefined) throw refuse(lastMessage.slice(0, 200) || 'qemu failed without a message');
    return { size, head };
  } finally {
    socket.close();
  }
}
