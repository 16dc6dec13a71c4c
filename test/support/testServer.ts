/** A separate server for a test file: the real command, in a child process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { keepChecks } from './applianceChecks.js';
import { isInJail, processesThatMention, type FoundProcess } from './processes.js';

/** The command, compiled. */
export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** How a server exited, and what it left behind; `clean` is the expected value. */
export interface ServerEnd {
  readonly code: number | null;
  /** Its descendants that are still running. */
  readonly processes: readonly FoundProcess[];
  /** Names in the directory of its run directories. */
  readonly files: readonly string[];
}

export const CLEAN_END: ServerEnd = { code: 0, processes: [], files: [] };

export interface TestServer {
  readonly address: string;
  /** The image root, which is removed with its contents when the server has exited. */
  readonly images: string;
  /** The directory in which the server creates its run directories. */
  readonly temporary: string;
  readonly process: ChildProcess;
  /** Its standard error so far. */
  log(): string;
  /** Processes of its sessions: its qemus while it has sessions, afterwards those left behind. */
  machines(): readonly FoundProcess[];
  /** The same with what creates their jails, which may become machines later. */
  processes(): readonly FoundProcess[];
  /** Sends a signal, unless it has already exited, and resolves when it has exited. */
  stop(signal?: NodeJS.Signals): Promise<ServerEnd>;
}

export interface TestServerOptions {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** An existing directory for its run directories, which is not removed. */
  readonly temporary?: string;
  /** User that the server runs as, if the tests run as root. */
  readonly uid?: number;
  /** The command of an installed package; by default, the one that is compiled here. */
  readonly command?: string;
  /** Run by the shell that becomes the server. */
  readonly before?: string;
}

/** The environment of the tests, without variables that would change the server's defaults. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(GUESTFS_GRPC_|LIBGUESTFS_(?!CACHEDIR))/.test(name)),
  );
}

/** Starts a server on a free port and waits until it listens. */
export async function startTestServer({
  flags = [],
  env = {},
  temporary: given,
  uid = 0,
  command: installed,
  before = '',
}: TestServerOptions = {}): Promise<TestServer> {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'guestfs-grpc-test-')));
  const images = await mkdtemp(join(base, 'images-'));
  const temporary = given ?? (await mkdtemp(join(base, 'tmp-')));
  const own = [
    ...(installed === undefined ? [process.execPath, MAIN] : [installed]),
    'serve',
    '--listen',
    '127.0.0.1:0',
    '--image-root',
    images,
    ...flags,
  ];
  if (uid === 0 && env['LIBGUESTFS_CACHEDIR'] !== undefined) keepChecks(env['LIBGUESTFS_CACHEDIR']);
  if (uid !== 0) await Promise.all([base, images, temporary].map((path) => chown(path, uid, uid)));
  const change = uid === 0 ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'];
  const shell = before === '' ? [] : ['bash', '-c', `${before}; exec "$@"`, 'bash'];
  const [command = '', ...args] = [...change, ...shell, ...own];
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...plainEnvironment(), LIBGUESTFS_TMPDIR: temporary, ...env },
  });
  let log = '';
  child.stderr.on('data', (bytes: Buffer) => {
    log += bytes.toString();
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const address = await Promise.race([
    (async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        const match = /^listening on (.+)$/.exec(line);
        if (match?.[1] !== undefined) return match[1];
      }
      throw new Error(`the server did not listen:\n${log}`);
    })(),
    exited.then(([code]) => {
      throw new Error(`the server ended with ${code}:\n${log}`);
    }),
  ]).catch(async (error: unknown) => {
    await rm(base, { recursive: true, force: true });
    throw error;
  });
  const children = (): readonly FoundProcess[] =>
    processesThatMention(temporary).filter(({ pid }) => pid !== child.pid);
  return {
    address,
    images,
    temporary,
    process: child,
    log: () => log,
    machines: () => children().filter(isInJail),
    processes: children,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const [code] = await exited;
      const end = { code, processes: children(), files: await readdir(temporary) };
      await rm(base, { recursive: true, force: true });
      return end;
    },
  };
}

/** The lines that a server logged with a message, the oldest first. */
export function logged(server: Pick<TestServer, 'log'>, message: string): Record<string, unknown>[] {
  return server
    .log()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === message);
}

/** The current metrics of a server with `--metrics-listen`. */
export async function metricsOf(server: Pick<TestServer, 'log'>): Promise<string> {
  const address = logged(server, 'serving metrics').at(-1)?.['address'];
  return (await fetch(`http://${String(address)}/metrics`)).text();
}
