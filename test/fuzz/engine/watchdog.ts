/**
 * Detects an input that runs forever, which code in the same thread cannot do. The watchdog runs in a separate thread,
 * saves the input, and ends the process.
 */
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { writeInput } from './corpus.js';

const LIMIT_MS = 20_000;
const LOOK_MS = 1000;

/** Layout of the memory that the threads share: the number of the run, the length of its input, and the input. */
const RUN = 0;
const LENGTH = 1;
const WORDS = 2;

export class Watchdog {
  readonly #shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #input: Uint8Array;
  readonly #worker: Worker;

  /** @param findings directory for the input that runs forever */
  constructor(target: string, findings: string, largest: number) {
    this.#shared = new SharedArrayBuffer(WORDS * 4 + largest);
    this.#words = new Int32Array(this.#shared, 0, WORDS);
    this.#input = new Uint8Array(this.#shared, WORDS * 4);
    const workerData = { target, findings, shared: this.#shared };
    this.#worker = new Worker(new URL('./watchdogThread.js', import.meta.url), { workerData, execArgv: [] });
    this.#worker.unref();
  }

  /** Must be called before an input is run. */
  begin(input: Buffer): void {
    this.#input.set(input.subarray(0, this.#input.length));
    Atomics.store(this.#words, LENGTH, Math.min(input.length, this.#input.length));
    Atomics.add(this.#words, RUN, 1);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** The body of the watchdog's thread. */
export function watch({
  target,
  findings,
  shared,
}: {
  readonly target: string;
  readonly findings: string;
  readonly shared: SharedArrayBuffer;
}): void {
  const words = new Int32Array(shared, 0, WORDS);
  let run = -1;
  let since = Date.now();
  setInterval(() => {
    const now = Atomics.load(words, RUN);
    if (now !== run) {
      run = now;
      since = Date.now();
    } else if (Date.now() - since > LIMIT_MS) {
      const input = Buffer.from(new Uint8Array(shared, WORDS * 4, Atomics.load(words, LENGTH)));
      const path = writeInput(findings, input, `${target}-never-ends`);
      const finding = { kind: 'finding', what: `does not end within ${LIMIT_MS / 1000} s`, path };
      writeSync(1, `${JSON.stringify(finding)}\n`);
      process.kill(process.pid, 'SIGKILL');
    }
  }, LOOK_MS);
}
