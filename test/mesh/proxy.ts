/** The proxies: their programs, and their configurations of `deploy/` with the addresses and files of a test. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../support/eventually.js';

/** Where a replica listens. */
export interface Place {
  readonly port: number;
  /** For /readyz. */
  readonly metricsPort: number;
}

/** A kind of proxy. */
export interface ProxyKind {
  readonly name: string;
  /** Its configuration, relative to `deploy/`. */
  readonly config: string;
  /** Where that has its certificates. */
  readonly certificates: string;
  /** Whether it tells servers who its clients are. */
  readonly identifiesClients: boolean;
  /** Whether it asks replicas for their health, and so knows in advance which ones take new sessions. */
  readonly asksForHealth: boolean;
  /** Whether its configuration has to be changed when a replica is added; otherwise it may list it before. */
  readonly reloads: boolean;
  /** Whether it keeps connections to servers in store without reading from them: it can use one that is being closed. */
  readonly missesGoaway: boolean;
  /** The program; undefined if it is not here. */
  find(): string | undefined;
  /** @param directory for its files, with a short path */
  command(program: string, config: string, directory: string): readonly string[];
}

function inPath(name: string): string | undefined {
  return spawnSync(name, ['-v']).error === undefined ? name : undefined;
}

export const ENVOY: ProxyKind = {
  name: 'Envoy',
  config: 'envoy/envoy.yaml',
  certificates: '/etc/envoy/tls',
  identifiesClients: true,
  asksForHealth: true,
  reloads: false,
  missesGoaway: false,
  find: () => {
    const program = process.env['GUESTFS_GRPC_TEST_ENVOY'];
    return program !== undefined && existsSync(program) ? program : inPath('envoy');
  },
  command: (program, config) => [
    ...[program, '--config-path', config, '--disable-hot-restart', '--concurrency', '2'],
    ...['--log-level', 'warning'],
  ],
};

export const NGINX: ProxyKind = {
  name: 'nginx',
  config: 'nginx/nginx.conf',
  certificates: '/etc/nginx/tls',
  identifiesClients: false,
  asksForHealth: false,
  reloads: true,
  missesGoaway: true,
  find: () => inPath('nginx'),
  command: (program, config, directory) => [
    ...[program, '-c', config, '-e', 'stderr'],
    ...['-g', `daemon off; pid ${join(directory, 'nginx.pid')};`],
  ],
};

export const HAPROXY: ProxyKind = {
  name: 'HAProxy',
  config: 'haproxy/haproxy.cfg',
  certificates: '/etc/haproxy/tls',
  identifiesClients: true,
  asksForHealth: true,
  reloads: false,
  missesGoaway: false,
  find: () => inPath('haproxy'),
  command: (program, config) => [program, '-db', '-f', config],
};

const DEPLOY = fileURLToPath(new URL('../../../deploy/', import.meta.url));
/** The names of the replicas in the configurations, which repeat a line for each. */
const REPLICA = /guestfs-grpc-(\d)\.guestfs-grpc-replicas/;

/**
 * The configuration that `deploy/` has, with other addresses and another directory of certificates. Nothing else is
 * changed.
 */
export function adapted(
  { config, certificates }: ProxyKind,
  port: number,
  replicas: readonly Place[],
  tls: string,
): string {
  const lines = readFileSync(join(DEPLOY, config), 'utf8').split('\n');
  const placed = lines.flatMap((line) => {
    const number = REPLICA.exec(line)?.[1];
    if (number === undefined) return [line];
    if (number !== '0') return [];
    return replicas.map(({ port: of, metricsPort }, index) =>
      line
        .replace(REPLICA, '127.0.0.1')
        .replace(/\b50051\b/, String(of))
        .replace(/\b9090\b/, String(metricsPort))
        .replace('guestfs-grpc-0', `guestfs-grpc-${index}`),
    );
  });
  return placed
    .join('\n')
    .replaceAll(certificates, tls)
    .replaceAll(/\b50050\b/g, String(port));
}

/** A proxy that runs. */
export interface Proxy {
  readonly address: string;
  /** Its standard error. */
  log(): string;
  /** The processes that carry the traffic. */
  pids(): readonly number[];
  /** Makes it use another list of replicas. */
  use(replicas: readonly Place[]): Promise<void>;
  stop(): Promise<void>;
}

/** Whether something listens on a port. */
async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A process and its children: nginx has one for each processor. */
function withChildren(pid: number): readonly number[] {
  const isChild = (name: string): boolean => {
    try {
      return Number(/\) \w (\d+) /.exec(readFileSync(`/proc/${name}/stat`, 'latin1'))?.[1]) === pid;
    } catch {
      return false; // exited
    }
  };
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isChild(name));
  return [pid, ...children.map(Number)];
}

/** Starts a proxy. @param tls the directory of its certificates */
export async function startProxy(
  kind: ProxyKind,
  { port, replicas, directory, tls }: { port: number; replicas: readonly Place[]; directory: string; tls: string },
): Promise<Proxy> {
  const program = kind.find();
  if (program === undefined) throw new Error(`${kind.name} is not installed`);
  const config = join(directory, 'proxy.conf.yaml');
  const write = (places: readonly Place[]): void => writeFileSync(config, adapted(kind, port, places, tls));
  write(replicas);
  const [command = '', ...args] = kind.command(program, config, directory);
  const child: ChildProcess = spawn(command, args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    log = `${log}${bytes.toString()}`.slice(-100_000);
  });
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`${kind.name} ended with ${child.exitCode}:\n${log}`);
    return answers(port);
  }, 20_000);
  return {
    address: `127.0.0.1:${port}`,
    log: () => log,
    pids: () => withChildren(child.pid ?? 0),
    use: async (places) => {
      write(places);
      child.kill('SIGHUP');
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 5000);
      await exited;
      clearTimeout(late);
    },
  };
}
