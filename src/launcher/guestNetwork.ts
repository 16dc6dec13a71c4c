/**
 * The network of a session with `network` on: a passt process, between the guest and the sockets of the host.
 *
 * With qemu's own user-mode network, qemu itself would need the host's network, and the guest could connect to whatever
 * listens on the host's loopback interface, this server included. Instead, passt has the network, without access to the
 * loopback interface, and qemu has one end of a socket pair. passt is started in a jail, in which it isolates itself
 * further, and ends when qemu does.
 */
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { descriptorOf, type StartedProcess } from '../common/subprocess.js';
import { abortController, withTimeLimit } from '../common/waiting.js';
import { findIsolation } from '../jail/isolation.js';
import { startJailed } from '../jail/jail.js';
import type { JailLimits, JailPlan, JailUser } from '../jail/jailArguments.js';
import { findProgram, placesOf, type Place } from '../jail/programFiles.js';

/** The network of one machine. */
export interface GuestNetwork {
  /** The descriptor that qemu is to inherit. */
  readonly fd: number;
  /** Closes the server's copy of the socket, once qemu has been started with it; passt then ends together with qemu. */
  close(): Promise<void>;
  /** Ends passt. */
  stop(): Promise<void>;
}

const PROGRAM = 'passt';
/** The addresses that libguestfs uses, and the router's MAC address in qemu's own network, which templates know. */
const ADDRESSES = { guest: '169.254.2.15', router: '169.254.2.2', names: '169.254.2.3', station: '52:55:a9:fe:02:02' };
const ARGUMENTS = [
  ...['--foreground', '--quiet', '--stderr', '--fd', '3'],
  ...['--address', ADDRESSES.guest, '--netmask', '16', '--gateway', ADDRESSES.router, '--mac-addr', ADDRESSES.station],
  ...['--dns', ADDRESSES.names, '--dns-forward', ADDRESSES.names],
  // Like qemu's own network, it does not advertise an MTU.
  ...['--mtu', '0'],
  // The router's address does not lead to the host's loopback interface, and no ports are forwarded to the guest.
  ...['--no-map-gw', '--tcp-ports', 'none', '--udp-ports', 'none'],
];
/** Its buffers are large, but mostly unused. */
const LIMITS: JailLimits = { data: 1 << 30, openFiles: 16_384, fileSize: 0 };
/** Where passt sets up its own root. */
const EMPTY: Place = { kind: 'empty', path: '/tmp' };
const NAME_SERVERS = '/etc/resolv.conf';
/** The name servers behind systemd's resolver on the loopback interface, which passt cannot reach. */
const NAME_SERVERS_BEHIND = '/run/systemd/resolve/resolv.conf';
const PROBE_MS = 10_000;
const MESSAGES_LIMIT = 4096;

/** Why passt cannot be used here; undefined: it can. */
let found: Promise<string | undefined> | undefined;

/**
 * Starts the network of a machine; undefined where that is not possible, and qemu has to provide it.
 * @param user undefined: the server's
 */
export async function startGuestNetwork(user: JailUser | undefined, logger: Logger): Promise<GuestNetwork | undefined> {
  found ??= probe(user).then((reason) => {
    if (reason !== undefined)
      logger.warn("sessions with a network can reach this host's loopback interface: passt cannot run in a jail here", {
        reason,
      });
    return reason;
  });
  if ((await found) !== undefined) return undefined;
  const passt = await start(user);
  const messages = endOf(passt);
  const [socket] = passt.channels as [Duplex];
  let ended = false;
  void passt.exited.then(({ exitCode, signal }) => {
    if (!ended && exitCode !== 0)
      logger.warn('the network of a machine ended', { exitCode, signal, reason: messages().split('\n').at(-1) });
  });
  return {
    fd: descriptorOf(socket),
    close: async () => void socket.destroy(),
    stop: async () => {
      ended = true;
      passt.kill('SIGKILL');
      socket.destroy();
      await passt.exited;
    },
  };
}

async function start(user: JailUser | undefined): Promise<StartedProcess> {
  const plan: JailPlan = {
    ...{ program: await findProgram(PROGRAM, 'tool'), args: ARGUMENTS, user, network: true, limits: LIMITS },
    confinesItself: true,
    places: [EMPTY, ...placesOf(['/usr/bin/passt.avx2']), ...nameServers()],
  };
  const passt = await startJailed(plan, { channels: 1, fds: [], env: { LC_ALL: 'C' } });
  passt.channels[0]?.on('error', () => undefined);
  return passt;
}

/** The resolver configuration for passt: the first file with a name server that it can reach. */
function nameServers(): Place[] {
  const usable = [NAME_SERVERS, NAME_SERVERS_BEHIND].find((path) => {
    const servers = read(path).match(/^nameserver\s+\S+/gm) ?? [];
    return servers.some((line) => !/\s(127\.|::1$)/.test(line));
  });
  const source = usable ?? placesOf([NAME_SERVERS])[0]?.path;
  return source === undefined ? [] : [{ kind: 'read-only', path: NAME_SERVERS, source }];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Collects the end of a process's output. */
function endOf({ outputs }: StartedProcess): () => string {
  let said = '';
  for (const output of outputs)
    output
      .on('error', () => undefined)
      .on('data', (bytes: Buffer) => {
        said = (said + bytes.toString('latin1')).slice(-MESSAGES_LIMIT);
      })
      .resume();
  return () => said.trim();
}

/**
 * Starts a passt and asks it for the router's MAC address.
 * @returns why that failed; undefined: it did not
 */
async function probe(user: JailUser | undefined): Promise<string | undefined> {
  if ((await findIsolation()).kind !== 'namespaces') return 'no namespaces can be made';
  try {
    const passt = await start(user);
    const messages = endOf(passt);
    const [socket] = passt.channels as [Duplex];
    const { signal } = abortController();
    try {
      const late = (): Error => new Error('it does not answer');
      await withTimeLimit(PROBE_MS, late, [signal], async () => {
        const answered = new Promise<boolean>((resolve) => {
          socket.once('data', () => resolve(true)).resume();
          void passt.exited.then(() => resolve(false));
        });
        socket.write(routerQuestion());
        if (!(await answered)) throw new Error(messages().split('\n').at(-1) || 'it ended');
      });
    } finally {
      passt.kill('SIGKILL');
      socket.destroy();
      await passt.exited;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** An ARP request for the router, framed as by qemu: preceded by its length. */
function routerQuestion(): Buffer {
  const station = Buffer.from('525400123456', 'hex');
  const bytes = (address: string): Buffer => Buffer.from(address.split('.').map(Number));
  const frame = Buffer.concat([
    ...[Buffer.alloc(6, 0xff), station, Buffer.from('0806' + '0001' + '0800' + '0604' + '0001', 'hex')],
    ...[station, bytes(ADDRESSES.guest), Buffer.alloc(6), bytes(ADDRESSES.router)],
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return Buffer.concat([length, frame]);
}
