/**
 * Remote drives on web and FTP servers, by nbdkit and its curl plugin. qemu's own client can wait forever: it overlooks
 * the end of a transfer when several end at the same moment.
 */
import { findProgram, type Program } from '../jail/programFiles.js';
import { exportNode } from './exportNode.js';
import { runIsolatedQemu } from './isolatedQemu.js';
import { clientProgram, type RemoteClient } from './remoteClient.js';
import { remoteUrl, type WebProtocol } from './remoteSource.js';

const PROGRAM = 'nbdkit';
const PACKAGE = 'nbdkit';
/** The only descriptor that the asking qemu inherits. */
const SOCKET_FD = 3;
const MEMORY_BYTES = 4 * 2 ** 30;

/** How long it takes at most to answer a request: less than the kernel of the appliance waits for a drive, 30 s. */
export const REQUEST_SECONDS = 20;

/** To which protocols a server may redirect: to no other host without a certificate, and to no file of this one. */
const REDIRECTS: Readonly<Record<WebProtocol, string>> = {
  http: 'http,https',
  https: 'https',
  ftp: 'ftp',
  ftps: 'ftps',
};

/** It takes over a listening socket, as a service of systemd does, if its own process number is stated. */
const LISTENING = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"';

export const webClient: RemoteClient = {
  startWith: async (source, { secretFile }) => {
    const [shell, nbdkit] = await Promise.all([findProgram('sh', 'tool'), clientProgram(PROGRAM, PACKAGE)]);
    const program: Program = { path: shell.path, places: [...shell.places, ...nbdkit.places] };
    const options = [
      `url=${remoteUrl(source)}`,
      `protocols=${REDIRECTS[source.protocol as WebProtocol]}`,
      `timeout=${REQUEST_SECONDS}`,
      ...(source.username === undefined ? [] : [`user=${source.username}`]),
      ...(secretFile === undefined ? [] : [`password=+${secretFile}`]),
    ];
    const args = [nbdkit.path, '--foreground', '--log=stderr', '--readonly', 'curl', ...options];
    return { program, args: ['-c', LISTENING, 'sh', ...args], channels: 0 };
  },
  open: async (_source, { listening, said, user, qemuBinary }, signal) => {
    const socket = await listening.connect();
    try {
      const node = exportNode(String(SOCKET_FD), 'image', { 'read-only': true });
      const { failure, size, lastMessage } = await runIsolatedQemu(
        { qemuBinary, user },
        {
          // A descriptor can be referred to by its number on the command line only.
          args: ['-blockdev', JSON.stringify(node)],
          commands: [],
          fds: [socket.fd],
          ...{ memoryBytes: MEMORY_BYTES, wallClockMs: REQUEST_SECONDS * 1000, signal },
        },
      );
      if (size === undefined) throw new Error(wordsOf(said()) || failure || lastMessage);
      return size;
    } finally {
      socket.close();
    }
  },
};

/** A message without the names of the program and its plugin. */
function wordsOf(message: string): string {
  return message.replace(/^nbdkit: (?:curl\[\d+\]: )?(?:error: )?/, '');
}
