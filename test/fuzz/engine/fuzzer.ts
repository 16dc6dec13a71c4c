/**
 * Runs a target on one input after the other. Each is derived from a known input, and is kept if it makes the code do
 * something new.
 */
import { setImmediate } from 'node:timers/promises';
import { now, useProcessorTime } from './clock.js';
import { Coverage } from './coverage.js';
import { nameOf } from './corpus.js';
import { Mutator } from './mutate.js';
import type { Probes } from './probes.js';
import { Random } from './random.js';
import { shrink } from './shrink.js';
import { beginRun, longestTurn, type Target } from './target.js';

/** Longest time for which an input may block the event loop, milliseconds. */
export const LONGEST_MS = 50;
/** V8 sometimes collects garbage or compiles during a run; an input that is really slow is slow each time. */
const SLOW_REPEATS = 5;
const SHRINK_MS = 5000;
/** Marks, among the known failures, that a slow input was found. */
const SLOW = 'slow';
/** Lines of the stack of a failure. */
const STACK_LINES = 12;
/** One in this many inputs is stretched. */
const STRETCHED_SHARE = 4000;
/** Runs, or milliseconds, before the event loop gets a turn. */
const BATCH = 512;
const BATCH_MS = 200;
/** There is a leak if, at the end, the memory in use exceeds that after this share of the time ... */
const WARM_UP_SHARE = 0.25;
/** ... by more than this many bytes. */
const LARGEST_GROWTH = 24 << 20;
/** V8 frees the contents of buffers in another thread, after it has collected the garbage, and some only the next time. */
const COLLECTIONS = 3;

/** Bytes that V8 and Node.js need for a buffer, in addition to its content. */
const BUFFER_OVERHEAD = 512;

export interface Finding {
  readonly what: string;
  readonly input: Buffer;
  readonly stack?: string | undefined;
}

export interface Status {
  readonly executions: number;
  readonly seconds: number;
  /** The executions of stretched inputs; included in `executions`. */
  readonly stretched: number;
  readonly reached: number;
  readonly places: number;
  readonly corpus: number;
  readonly findings: number;
  /** Growth of the memory in use since the warm-up, bytes; undefined until the end. */
  readonly growth?: number;
}

export interface FuzzerOptions {
  readonly target: Target;
  readonly probes: Probes;
  readonly seed: number;
  readonly milliseconds: number;
  /** Ends with the first finding. */
  readonly onlyFirst?: boolean;
  /** Inputs to start with, in addition to the target's seeds. */
  readonly inputs: readonly Buffer[];
  readonly collectGarbage: () => void;
  /** Called before each run. */
  readonly onRun: (input: Buffer) => void;
  readonly onNew: (input: Buffer) => void;
  readonly onFinding: (finding: Finding) => void;
  readonly onStatus: (status: Status) => void;
  readonly statusMs: number;
  /** Whether an input takes too long without probes. */
  readonly isSlow: (input: Buffer) => boolean;
}

/** How a run ended. */
interface Outcome {
  readonly ms: number;
  readonly error: { readonly thrown: unknown } | undefined;
}

/** Identifies a kind of failure. */
function signatureOf(thrown: unknown): string {
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : `thrown: ${String(thrown)}`;
  return text.replaceAll(/\d[\d.e+]*/g, 'N').slice(0, 200);
}

export class Fuzzer {
  readonly #options: FuzzerOptions;
  readonly #random: Random;
  readonly #coverage: Coverage;
  readonly #mutator: Mutator;
  readonly #corpus: Buffer[] = [];
  readonly #known = new Set<string>();
  #executions = 0;
  #stretched = 0;
  #findings = 0;

  constructor(options: FuzzerOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#coverage = new Coverage(options.probes);
    this.#mutator = new Mutator(this.#random, options.probes, options.target.longest);
  }

  get corpus(): readonly Buffer[] {
    return this.#corpus;
  }

  async run(): Promise<Status> {
    const { target, inputs, milliseconds, onlyFirst = false, statusMs, onStatus } = this.#options;
    // Most inputs are refused with an error, and most of an error's cost is its stack.
    Error.stackTraceLimit = 0;
    const started = performance.now();
    const status = (growth?: number): Status => ({
      executions: this.#executions,
      seconds: (performance.now() - started) / 1000,
      stretched: this.#stretched,
      reached: this.#coverage.reached,
      places: this.#coverage.places,
      corpus: this.#corpus.length,
      findings: this.#findings,
      ...(growth === undefined ? {} : { growth }),
    });
    for (const input of [...(await target.seeds()), ...inputs]) await this.#try(input, true);
    let warm: number | undefined;
    let reported = 0;
    for (;;) {
      const begun = performance.now();
      for (let count = 0; count < BATCH && performance.now() - begun < BATCH_MS; count += 1) await this.#next();
      await setImmediate();
      const elapsed = performance.now() - started;
      if (elapsed > milliseconds || (onlyFirst && this.#findings > 0)) break;
      if (warm === undefined && elapsed > WARM_UP_SHARE * milliseconds) warm = await this.#memory();
      if (elapsed - reported > statusMs) {
        reported = elapsed;
        onStatus(status());
      }
    }
    const growth = Math.max(0, (await this.#memory()) - (warm ?? Infinity));
    if (growth > LARGEST_GROWTH)
      this.#report(`memory grew by ${(growth / 2 ** 20).toFixed(1)} MiB`, Buffer.alloc(0), undefined);
    return status(growth);
  }

  /** Bytes in use, without the inputs that were kept. */
  async #memory(): Promise<number> {
    let least = Infinity;
    for (let count = 0; count < COLLECTIONS; count += 1) {
      this.#options.collectGarbage();
      await setImmediate();
      const { heapUsed, external } = process.memoryUsage();
      least = Math.min(least, heapUsed + external);
    }
    return least - this.#corpus.reduce((sum, { length }) => sum + length + BUFFER_OVERHEAD, 0);
  }

  async #next(): Promise<void> {
    const input = this.#pick();
    if (this.#random.once(STRETCHED_SHARE)) {
      this.#stretched += 1;
      await this.#try(this.#mutator.stretch(input, this.#options.target.stretched), false);
    } else {
      await this.#try(this.#mutator.mutate(input, this.#pick()), true);
    }
  }

  /** Prefers recent inputs, which have not been mutated much yet. */
  #pick(): Buffer {
    const { length } = this.#corpus;
    if (length === 0) return Buffer.alloc(0);
    const recent = Math.min(length, 16);
    const at = this.#random.once(2) ? this.#random.below(length) : length - 1 - this.#random.below(recent);
    return this.#corpus[at] ?? Buffer.alloc(0);
  }

  async #try(input: Buffer, keep: boolean): Promise<void> {
    const { ms, error } = await this.#execute(input);
    // Must happen before anything else is run.
    const isNew = keep && error === undefined && this.#coverage.learn();
    if (error !== undefined) await this.#failed(input, error.thrown);
    // One is enough: others are probably of the same kind, and each costs seconds.
    else if (ms > LONGEST_MS && !this.#known.has(SLOW)) await this.#slow(input);
    if (!isNew) return;
    // Small buffers share their memory with others, which would be kept as well.
    const own = Buffer.alloc(input.length);
    input.copy(own);
    this.#corpus.push(own);
    this.#options.onNew(own);
  }

  async #execute(input: Buffer): Promise<Outcome> {
    this.#executions += 1;
    this.#options.onRun(input);
    this.#coverage.begin();
    // Code that keeps or changes its input must not affect the corpus.
    const own = Buffer.from(input);
    beginRun();
    const started = now();
    const ms = (): number => longestTurn() ?? now() - started;
    try {
      const running = this.#options.target.run(own);
      if (running !== undefined) await running;
      return { ms: ms(), error: undefined };
    } catch (thrown) {
      return { ms: ms(), error: { thrown } };
    }
  }

  async #failed(input: Buffer, thrown: unknown): Promise<void> {
    const signature = signatureOf(thrown);
    if (this.#known.has(signature)) return;
    this.#known.add(signature);
    const failure = async (shorter: Buffer): Promise<unknown> => {
      const { error } = await this.#execute(shorter);
      return error !== undefined && signatureOf(error.thrown) === signature ? error.thrown : undefined;
    };
    const least = await shrink(input, async (shorter) => (await failure(shorter)) !== undefined, SHRINK_MS);
    Error.stackTraceLimit = STACK_LINES;
    const again = (await failure(least)) ?? thrown;
    Error.stackTraceLimit = 0;
    const text = again instanceof Error ? `${again.name}: ${again.message}` : String(again);
    this.#report(text, least, again instanceof Error ? again.stack : undefined);
  }

  async #slow(input: Buffer): Promise<void> {
    const least = await this.#leastTime(input);
    if (least <= LONGEST_MS || !this.#options.isSlow(input)) return;
    this.#known.add(SLOW);
    this.#report(`takes ${least.toFixed(0)} ms, with probes; ${input.length} bytes`, input, undefined);
  }

  async #leastTime(input: Buffer): Promise<number> {
    let least = Infinity;
    useProcessorTime(true);
    for (let count = 0; count < SLOW_REPEATS && least > LONGEST_MS; count += 1)
      least = Math.min(least, (await this.#execute(input)).ms);
    useProcessorTime(false);
    return least;
  }

  #report(what: string, input: Buffer, stack: string | undefined): void {
    this.#findings += 1;
    this.#options.onFinding({ what: `${what} (${nameOf(input)})`, input, stack });
  }
}
