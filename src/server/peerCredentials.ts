/**
 * The user at the other end of a connection to a Unix socket, as the kernel recorded it when the client connected
 * (SO_PEERCRED, unix(7)). Node.js has no call for this, so a short-lived Python process inherits connections and asks.
 */
import type { Socket } from 'node:net';
import { ISOLATED_PYTHON } from '../common/python.js';
import { descriptorOf, runTool } from '../common/subprocess.js';
import { abortController } from '../common/waiting.js';

const [PYTHON = '', ...ISOLATED] = ISOLATED_PYTHON;
/**
 * Prints the users from `struct ucred`, which has process, user and group, or the errors; the connections are the
 * descriptors from 3 on.
 */
const PROGRAM = `
import socket, struct, sys
for fd in range(3, 3 + int(sys.argv[1])):
    try:
        print(struct.unpack("iII", socket.socket(fileno=fd).getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
    except OSError as error:
        print(error)`;
const LIMIT_MS = 10_000;
const ANSWER_LIMIT = 16_384;
/** Processes at a time. Each takes about 20 ms of processor time, for however many connections. */
const PROCESSES = 2;
/** Connections of one process. */
const TOGETHER = 64;

interface Lookup {
  readonly socket: Socket;
  readonly resolve: (user: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Asks about all connections that wait at a time, so that a client with many of them holds up nobody. */
export class PeerCredentials {
  readonly #waiting: Lookup[] = [];
  #running = 0;

  /** @param ask asks about open descriptors, and answers with a user or an error for each; by default the kernel */
  constructor(private readonly ask: typeof askKernel = askKernel) {}

  /** The user ID. @throws Error if the connection is closed, or the process fails */
  userOf(socket: Socket): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ socket, resolve, reject });
      // All that connect in one turn are asked about together.
      setImmediate(() => this.#next());
    });
  }

  #next(): void {
    if (this.#running === PROCESSES || this.#waiting.length === 0) return;
    this.#running += 1;
    void this.#answer(this.#waiting.splice(0, TOGETHER)).finally(() => {
      this.#running -= 1;
      this.#next();
    });
  }

  async #answer(lookups: readonly Lookup[]): Promise<void> {
    const open = withoutClosed(lookups);
    if (open.length === 0) return;
    let answers: readonly string[];
    try {
      answers = await this.ask(open.map(({ socket }) => descriptorOf(socket)));
    } catch (error) {
      // A single one that was closed before the process had it fails all of them.
      const half = Math.ceil(open.length / 2);
      if (open.length === 1) open[0]?.reject(error);
      else await Promise.all([this.#answer(open.slice(0, half)), this.#answer(open.slice(half))]);
      return;
    }
    open.forEach(({ socket, resolve, reject }, index) => {
      const answer = answers[index] ?? '';
      // If the descriptor was closed in the meantime, its number may already have belonged to another connection.
      if (socket.destroyed) reject(disconnected());
      else if (/^\d+$/.test(answer)) resolve(Number(answer));
      else reject(new Error(`SO_PEERCRED: ${answer}`));
    });
  }
}

function withoutClosed(lookups: readonly Lookup[]): Lookup[] {
  return lookups.filter(({ socket, reject }) => {
    if (socket.destroyed) reject(disconnected());
    return !socket.destroyed;
  });
}

const disconnected = (): Error => new Error('the client has disconnected');

async function askKernel(fds: readonly number[]): Promise<readonly string[]> {
  const { exitCode, stdout, stderr } = await runTool(PYTHON, [...ISOLATED, '-c', PROGRAM, String(fds.length)], {
    fds,
    timeoutMs: LIMIT_MS,
    maxOutputBytes: ANSWER_LIMIT,
    signal: abortController().signal,
  });
  const answers = stdout.trimEnd().split('\n');
  if (exitCode !== 0 || answers.length !== fds.length) throw new Error(`SO_PEERCRED: ${stderr.trim() || stdout}`);
  return answers;
}
