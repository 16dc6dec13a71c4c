/**
 * Watches for an input that never ends: then nothing in the thread that runs it can say so. This runs in a thread of its
 * own, writes the input down, and ends the process.
 */
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { writeInput } from './corpus.js';

const LIMIT_MS = 20_000;
const LOOK_MS = 1000;

/** What the two threads share: the number of the run, the length of its input, and the input. */
const RUN = 0;
const LENGTH = 1;
const WORDS = 2;

export class Watchdog {
  readonly #shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #input: Uint8Array;
  readonly #worker: Worker;

  /** @param findings directory for the input that never ends */
  constructor(target: string, findings: string, largest: number) {
    this.#shared = new SharedArrayBuffer(WORDS * 4 + largest);
    this.#words = new Int32Array(this.#shared, 0, WORDS);
    this.#input = new Uint8Array(this.#shared, WORDS * 4);
    const workerData = { target, findings, shared: this.#shared };
    this.#worker = new Worker(new URL('./watchdogThread.js', import.meta.url), { workerData, execArgv: [] });
    this.#worker.unref();
  }

  /** To be called before an input is run. */
  begin(input: Buffer): void {
    this.#input.set(input.subarray(0, this.#input.length));
    Atomics.store(this.#words, LENGTH, Math.min(input.length, this.#input.length));
    Atomics.add(this.#words, RUN, 1);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** What the thread does. */
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
