/** A server on a free local port, for as long as it is needed. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
/** Also makes it shut down cleanly if the process that started it is killed. */
const WITH_ITS_PARENT = ['--pdeathsig', 'TERM'];
const READY_LINE = /^listening on (\S+:\d+)$/;
const START_LIMIT_MS = 60_000;
/** Before it stops, a server closes its sessions, which sync their disks. */
const STOP_LIMIT_MS = 120_000;
const LOG_LINES = 20;

/** Environment variables that would make it a different server than its client expects. */
const NOT_INHERITED = /^GUESTFS_GRPC_(TLS_|CLIENT_CA|METRICS_LISTEN)/;

export interface LocalServerOptions {
  /** Path of the program; by default this version's own. */
  readonly program?: string | undefined;
  readonly imageRoots: readonly string[];
  /** Path of its log. */
  readonly logFile: string;
  /** Additional flags. */
  readonly flags?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export class LocalServer {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(
    child: ChildProcess,
    exited: Promise<unknown>,
    readonly address: string,
    readonly logFile: string,
  ) {
    this.#child = child;
    this.#exited = exited;
  }

  /** Starts a server; resolves when it accepts sessions. */
  static async start({
    program = PROGRAM,
    imageRoots,
    logFile,
    flags = [],
    env = {},
  }: LocalServerOptions): Promise<LocalServer> {
    const log = openSync(logFile, 'a');
    // In a separate process group, so that Ctrl-C reaches only the parent, which then stops it cleanly.
    const child = spawn(
      'setpriv',
      [
        ...WITH_ITS_PARENT,
        process.execPath,
        program,
        'serve',
        '--listen',
        '127.0.0.1:0',
        ...imageRoots.flatMap((root) => ['--image-root', root]),
        ...flags,
      ],
      {
        stdio: ['ignore', 'pipe', log],
        env: { ...inherited(), ...env },
        detached: true,
      },
    );
    closeSync(log);
    const exited = once(child, 'exit');
    exited.catch(() => undefined); // reported by "error" below
    try {
      return new LocalServer(child, exited, await readyAddress(child), logFile);
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(
        `the server did not start: ${error instanceof Error ? error.message : String(error)}\n${await endOf(logFile)}`,
        { cause: error },
      );
    }
  }

  /** Process ID. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The last lines of its log. */
  log(): Promise<string> {
    return endOf(this.logFile);
  }

  /** Stops it as an operator does; resolves when it has exited. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    const limit = setTimeout(() => this.#child.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.#exited;
    clearTimeout(limit);
  }
}

function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name)));
}

function readyAddress(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`not ready within ${START_LIMIT_MS / 1000} s`)), START_LIMIT_MS);
    const settle = (): void => clearTimeout(limit);
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const address = READY_LINE.exec(line)?.[1];
        if (address === undefined) return;
        settle();
        resolve(address);
      });
    }
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    child.once('exit', (code, signal) => {
      settle();
      reject(new Error(`it exited (${String(code ?? signal)})`));
    });
  });
}

async function endOf(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-LOG_LINES).join('\n');
}
