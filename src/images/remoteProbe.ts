/**
 * Probes a remote image for its size and first bytes, through the same qemu drivers as the machine, before the
 * launch: a server that does not answer causes an error that names the drive, within a time limit.
 */
import { stat } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';
import { Semaphore } from '../common/semaphore.js';
import { BACKED_FORMATS, type ImageFormat } from './formats.js';
import { runIsolatedQemu, type IsolatedRun } from './isolatedQemu.js';
import { remoteNode } from './remoteNodes.js';
import type { RemoteResources } from './remoteResources.js';
import { remoteSubject, usesNetwork, type RemoteProtocol, type RemoteSource } from './remoteSource.js';
import { createUnnamedFile } from './temporaryDisk.js';

/** Any reachable server answers sooner. */
const WALL_CLOCK_MS = 20_000;
/** Libraries of storage clusters reserve memory for dozens of threads. */
const MEMORY_BYTES = 4 * 2 ** 30;

/** Limit for all sessions together: each probe is a process, although most of them just wait for the network. */
const MAX_PARALLEL = 8;
const turns = new Semaphore(MAX_PARALLEL);

/** Protocols whose drivers Debian packages separately from qemu. */
const EXTRA_PROTOCOLS: ReadonlySet<RemoteProtocol> = new Set([
  'http',
  'https',
  'ftp',
  'ftps',
  'ssh',
  'iscsi',
  'rbd',
  'gluster',
]);
const EXTRA_PACKAGE = 'qemu-block-extra';

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
  readonly source: RemoteSource;
  readonly resources: RemoteResources;
  /** Prefix of file names. */
  readonly name: string;
  /** Absolute path of the machine's qemu. */
  readonly qemuBinary: string;
  /** Run directory of the machine; qemu runs as its owner. */
  readonly runDirectory: string;
  readonly signal: AbortSignal;
}

/** Creates the probe for a drive; it waits while {@link MAX_PARALLEL} probes are running. */
export function remoteAsker(drive: AskedDrive): AskRemote {
  return (question) => turns.run(() => ask(drive, question), drive.signal);
}

async function ask(drive: AskedDrive, question: RemoteQuestion): Promise<RemoteAnswer> {
  const { headLength } = question;
  if (headLength === undefined) return askFor(drive, question, undefined);
  const file = await createUnnamedFile(drive.runDirectory, `${drive.name}.printed`);
  try {
    return await askFor(drive, question, { length: headLength, file });
  } finally {
    await file.close();
  }
}

async function askFor(
  { source, resources, qemuBinary, runDirectory, signal }: AskedDrive,
  { format = 'raw' }: RemoteQuestion,
  wanted: IsolatedRun['head'],
): Promise<RemoteAnswer> {
  const { uid, gid } = await stat(runDirectory);
  const subject = remoteSubject(source);
  const refuse = (why: string): GuestfsError =>
    new GuestfsError(
      'IMAGE_UNUSABLE',
      `${subject} cannot be opened${format === 'raw' ? '' : ` in format '${format}'`}: ${why}`,
    );
  const bytes = (name: string): object => remoteNode(source, name, resources, { 'read-only': true });
  const nodes =
    format === 'raw'
      ? [bytes('image')]
      : [
          bytes('bytes'),
          {
            driver: format,
            'node-name': 'image',
            file: 'bytes',
            'read-only': true,
            ...(BACKED_FORMATS.has(format) ? { backing: null } : {}),
          },
        ];
  const { overLimit, failure, size, head, lastMessage } = await runIsolatedQemu(
    { qemuBinary, user: uid === process.geteuid?.() ? undefined : { uid, gid } },
    {
      args: [],
      commands: [
        ...resources.objects.map((object) => ({ execute: 'object-add', arguments: object })),
        ...nodes.map((node) => ({ execute: 'blockdev-add', arguments: node })),
      ],
      fds: [],
      ...(wanted === undefined ? {} : { head: wanted }),
      directory: runDirectory,
      network: usesNetwork(source),
      memoryBytes: MEMORY_BYTES,
      wallClockMs: WALL_CLOCK_MS,
      signal,
    },
  );
  if (overLimit) throw refuse(`the server did not answer within ${WALL_CLOCK_MS / 1000} s`);
  if (failure !== undefined) throw refuse(explain(failure, source.protocol));
  if (size === undefined) throw refuse(lastMessage.slice(0, 200) || 'qemu failed without a message');
  return { size, head };
}

/** qemu's error, with a hint where it lacks one. */
function explain(failure: string, protocol: RemoteProtocol): string {
  const words = failure.slice(0, 300);
  if (EXTRA_PROTOCOLS.has(protocol) && /unknown driver|does not accept value/i.test(words)) {
    return `the server's qemu has no driver for '${protocol}'; on Debian and Ubuntu, the package ${EXTRA_PACKAGE} has it (${words})`;
  }
  return words;
}
