/**
 * Asks a drive's server for its size, as the machine will, before there is a machine: a server
 * that does not answer is found out here, in time, and by an error that names it.
 */
import { stat } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';
import { locateQemu } from '../qemu/qemuBinary.js';
import { runIsolatedQemu } from './isolatedQemu.js';
import { remoteNode } from './remoteNodes.js';
import type { RemoteResources } from './remoteResources.js';
import { remoteSubject, type RemoteProtocol, type RemoteSource } from './remoteSource.js';

/** A server that is there answers in less, over any network. */
const WALL_CLOCK_MS = 20_000;
/** Libraries of storage clusters reserve memory for dozens of threads. */
const MEMORY_BYTES = 4 * 2 ** 30;

/** Protocols whose drivers Debian packages apart from qemu. */
const EXTRA_PROTOCOLS: ReadonlySet<RemoteProtocol> = new Set(['http', 'https', 'ftp', 'ftps', 'ssh', 'iscsi', 'rbd', 'gluster']);
const EXTRA_PACKAGE = 'qemu-block-extra';

/**
 * The size of a source, bytes.
 * @param runDirectory the machine's; qemu runs as whom it belongs to
 * @throws GuestfsError `IMAGE_UNUSABLE` naming the drive, `QEMU_MISSING`, or the reason of `signal`
 */
export async function probeRemote(source: RemoteSource, resources: RemoteResources, runDirectory: string, signal: AbortSignal): Promise<bigint> {
  const { uid, gid } = await stat(runDirectory);
  const subject = remoteSubject(source);
  const refuse = (why: string): GuestfsError => new GuestfsError('IMAGE_UNUSABLE', `${subject} cannot be opened: ${why}`);
  const { overLimit, failure, size, lastMessage } = await runIsolatedQemu(
    { qemuBinary: await locateQemu(undefined), user: uid === process.geteuid?.() ? undefined : { uid, gid } },
    {
      args: [],
      commands: [
        ...resources.objects.map((object) => ({ execute: 'object-add', arguments: object })),
        { execute: 'blockdev-add', arguments: remoteNode(source, 'image', resources, { 'read-only': true }) },
      ],
      fds: [],
      directory: runDirectory,
      memoryBytes: MEMORY_BYTES,
      wallClockMs: WALL_CLOCK_MS,
      signal,
    },
  );
  if (overLimit) throw refuse(`the server did not answer within ${WALL_CLOCK_MS / 1000} s`);
  if (failure !== undefined) throw refuse(explain(failure, source.protocol));
  if (size === undefined) throw refuse(lastMessage.slice(0, 200) || 'qemu gave up on it');
  return size;
}

/** qemu's words, and what to do where they do not say it. */
function explain(failure: string, protocol: RemoteProtocol): string {
  const words = failure.slice(0, 300);
  if (EXTRA_PROTOCOLS.has(protocol) && /unknown driver|does not accept value/i.test(words)) {
    return `the server's qemu has no driver for '${protocol}'; on Debian and Ubuntu, the package ${EXTRA_PACKAGE} has it (${words})`;
  }
  return words;
}
