/** A conversation with a process that runs a Python program for libguestfs. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Debian's own Python, for which its packages install modules. */
const PYTHON = '/usr/bin/python3';
/** Found from this file's place in dist. */
const PROGRAM = fileURLToPath(new URL('../../../bench/subjects/library.py', import.meta.url));
const STOP_LIMIT_MS = 30_000;

export class PythonDriver {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;
  readonly #signal: AbortSignal;
  readonly #kill = (): void => killGroup(this.#child);

  /**
   * @param env what the library reads; nothing else that is meant for it is passed on
   * @param program what the process runs
   */
  constructor(env: NodeJS.ProcessEnv, signal: AbortSignal, program = PROGRAM) {
    const others = Object.entries(process.env).filter(([name]) => !name.startsWith('LIBGUESTFS_'));
    this.#child = spawn(PYTHON, ['-B', program], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...Object.fromEntries(others), ...env },
      detached: true,
    });
    this.#child.on('error', () => undefined); // noticed by the missing answer
    this.#child.stdin?.on('error', () => undefined);
    if (this.#child.stdout === null) throw new Error('no pipe');
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
    this.#signal = signal;
    signal.addEventListener('abort', this.#kill, { once: true });
  }

  /** Sends a request and returns its answer. */
  async ask<Answer>(request: object): Promise<Answer> {
    this.#child.stdin?.write(
      `${JSON.stringify(request, (_key, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))}\n`,
    );
    const next = await this.#answers.next();
    this.#signal.throwIfAborted();
    if (next.done === true) throw new Error(`${PYTHON} with the guestfs module (Debian: python3-guestfs) ended`);
    const answer = JSON.parse(next.value) as Answer & { readonly error?: string };
    if (answer.error !== undefined) throw new Error(`libguestfs: ${answer.error}`);
    return answer;
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#kill);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const exited = once(this.#child, 'exit');
    this.#child.stdin?.end();
    const limit = setTimeout(this.#kill, STOP_LIMIT_MS);
    await exited;
    clearTimeout(limit);
    this.#lines.close();
  }
}

/** The library's qemu is in the process group of its launcher, and does not exit by itself. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // They have exited.
  }
}
