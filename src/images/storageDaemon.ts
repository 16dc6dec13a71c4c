/** Remote drives by qemu's own drivers, in a qemu-storage-daemon. */
import type { Duplex } from 'node:stream';
import { finalWordsOf } from '../common/endedProcess.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { findIsolation } from '../jail/isolation.js';
import { QmpClient, QmpError } from '../qemu/qmpClient.js';
import { EXPORT_NAME } from './exportNode.js';
import { clientProgram, type RemoteClient } from './remoteClient.js';
import { remoteNode } from './remoteNodes.js';
import { remoteSubject, usesNetwork, type RemoteProtocol, type RemoteSource } from './remoteSource.js';

const PROGRAM = 'qemu-storage-daemon';
const PACKAGE = 'qemu-system-common';
const MONITOR_FD = 3;
const LISTENING_FD = 4;
const NODE = EXPORT_NAME;

/** Protocols whose drivers Debian packages separately from qemu. */
const EXTRA_PROTOCOLS: ReadonlySet<RemoteProtocol> = new Set(['ssh', 'iscsi', 'rbd', 'gluster']);
const EXTRA_PACKAGE = 'qemu-block-extra';

export const storageDaemon: RemoteClient = {
  startWith: async (source) => {
    await requireUnixSockets(source);
    return {
      program: await clientProgram(PROGRAM, PACKAGE),
      args: [
        ...['--chardev', `socket,id=monitor,fd=${MONITOR_FD}`, '--monitor', 'chardev=monitor'],
        ...['--nbd-server', `addr.type=fd,addr.str=${LISTENING_FD}`],
      ],
      channels: 1,
    };
  },
  open: async (source, { process, resources, said, writable }, signal) => {
    try {
      const monitor = await QmpClient.connect(process.channels[0] as Duplex, signal);
      for (const object of resources.objects) await monitor.execute('object-add', object, signal);
      const access = { 'read-only': !writable, ...(writable ? { discard: 'unmap' } : {}) };
      await monitor.execute('blockdev-add', remoteNode(source, NODE, resources, access), signal);
      const size = sizeOf(await monitor.execute('query-named-block-nodes', { flat: true }, signal));
      const exported = { type: 'nbd', id: NODE, 'node-name': NODE, name: EXPORT_NAME, writable };
      await monitor.execute('block-export-add', exported, signal);
      // Nothing is read from it any more, whatever takes it over.
      monitor.close();
      return size;
    } catch (error) {
      signal.throwIfAborted();
      const words =
        error instanceof QmpError ? error.description : (await finalWordsOf(process, said)) || messageOf(error);
      throw new Error(explain(words, source.protocol), { cause: error });
    }
  },
};

/** @throws GuestfsError ENOTSUP if the drive's server is on a Unix socket, and the program may not make any */
async function requireUnixSockets(source: RemoteSource): Promise<void> {
  if (usesNetwork(source) || (await findIsolation()).kind !== 'landlock') return;
  throw new GuestfsError(
    'ENOTSUP',
    `${remoteSubject(source)} is on a Unix socket, which drives cannot use on this host: where no namespaces can be made, programs must not make Unix sockets, since these would lead to the host's services. Let its server listen on a port`,
  );
}

/** The size in the answer to `query-named-block-nodes` (qemu's qapi/block-core.json). */
function sizeOf(nodes: unknown): bigint | undefined {
  const known = nodes as readonly { readonly 'node-name'?: string; readonly image?: { 'virtual-size'?: unknown } }[];
  const size = known.find((node) => node['node-name'] === NODE)?.image?.['virtual-size'];
  return typeof size === 'number' && size >= 0 && Number.isSafeInteger(size) ? BigInt(size) : undefined;
}

/** qemu's error, with a hint where it lacks one. */
function explain(words: string, protocol: RemoteProtocol): string {
  if (EXTRA_PROTOCOLS.has(protocol) && /unknown driver|does not accept value/i.test(words)) {
    return `${PROGRAM} has no driver for '${protocol}'; on Debian and Ubuntu, the package ${EXTRA_PACKAGE} has it (${words})`;
  }
  return words;
}
