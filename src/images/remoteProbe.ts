/**
 * Asks a drive's server for its size, and for what it begins with, as the machine will, before there is
 * a machine: a server that does not answer is found out here, in time, and by an error that names it.
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

/** A server that is there answers in less, over any network. */
const WALL_CLOCK_MS = 20_000;
/** Libraries of storage clusters reserve memory for dozens of threads. */
const MEMORY_BYTES = 4 * 2 ** 30;

/** For the whole server, however many drives and sessions there are: each is a process, and most of them wait for a network. */
const MAX_PARALLEL = 8;
const turns = new Semaphore(MAX_PARALLEL);

/** Protocols whose drivers Debian packages apart from qemu. */
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

/** What is wanted of a server: the bytes themselves, or the image in a format that they are. */
export interface RemoteQuestion {
  /** How many of the bytes, from the first on; none when left out. */
  readonly headLength?: number;
  /** One in which an image leads to no file but one under it, which is left out; `raw`, the bytes, when left out. */
  readonly format?: ImageFormat;
}

/** What a server has. */
export interface RemoteAnswer {
  /** Bytes, in whole sectors; of an image in a format, those that a guest sees. */
  readonly size: bigint;
  /** The first bytes that were wanted; undefined: there are fewer. */
  readonly head: Buffer | undefined;
}

/**
 * Asks one server.
 * @throws GuestfsError `IMAGE_UNUSABLE` naming the drive, or the reason of the drive's signal
 */
export type AskRemote = (question: RemoteQuestion) => Promise<RemoteAnswer>;

/** A drive whose server is asked. */
export interface AskedDrive {
  readonly source: RemoteSource;
  readonly resources: RemoteResources;
  /** Starts names of files. */
  readonly name: string;
  /** The machine's, by its absolute path. */
  readonly qemuBinary: string;
  /** The machine's; qemu runs as whom it belongs to. */
  readonly runDirectory: string;
  readonly signal: AbortSignal;
}

/** Makes what asks the server of a drive, which waits while as many are asked as may be. */
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
  if (size === undefined) throw refuse(lastMessage.slice(0, 200) || 'qemu gave up on it');
  return { size, head };
}

/** qemu's words, and what to do where they do not say it. */
function explain(failure: string, protocol: RemoteProtocol): string {
  const words = failure.slice(0, 300);
  if (EXTRA_PROTOCOLS.has(protocol) && /unknown driver|does not accept value/i.test(words)) {
    return `the server's qemu has no driver for '${protocol}'; on Debian and Ubuntu, the package ${EXTRA_PACKAGE} has it (${words})`;
  }
  return words;
}
