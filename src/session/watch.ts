/**
 * Detects that qemu or a daemon no longer answers.
 *
 * It is asked only when it has sent nothing for a while. Only time during which this process has run counts: while the
 * host was suspended, or this process got no processor time, there was no chance to answer.
 */
import { GuestfsError, messageOf } from '../common/errors.js';

/** A peer that answers when it is asked. */
export interface Watched {
  /** What it is, as the subject of a sentence. */
  readonly name: string;
  /** When it last sent anything, on the clock of `performance`. */
  readonly lastAnswer: () => number;
  /**
   * Asks it; undefined: it cannot be asked now, because it is busy with work that has its own time limit.
   * Rejects if it answers that it does not work, or can no longer be asked.
   */
  readonly ask: () => Promise<void> | undefined;
}

/** The limit is divided into this many intervals, and checked after each: silence is noticed within two of them ... */
const PARTS = 4;
/** ... which leaves these for the answer. */
const PARTS_TO_ANSWER = 2;
/** A check that is later than this many intervals after the one before was delayed by this process itself. */
const LATE = 1.5;

/**
 * Watches peers until it is stopped, or one of them does not answer.
 * @param limitMs maximum time until `onDead` is called
 * @returns a function that stops watching
 */
export function watch(all: readonly Watched[], limitMs: number, onDead: (error: GuestfsError) => void): () => void {
  const intervalMs = limitMs / PARTS;
  const states = all.map((watched) => new Silence(watched, intervalMs));
  let before = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    const passed = Math.min(now - before, intervalMs * LATE);
    before = now;
    for (const state of states) {
      const trouble = state.look(now, passed);
      if (trouble === undefined) continue;
      clearInterval(timer);
      onDead(
        new GuestfsError(
          'UNRESPONSIVE',
          `${trouble}: the appliance was ended; whether a call in progress had an effect is unknown`,
          { metadata: { limit: 'unresponsive-timeout' } },
        ),
      );
      return;
    }
  }, intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** How long one peer has been silent. */
class Silence {
  /** How long it has owed an answer; undefined: it has answered. */
  #waitedMs: number | undefined;
  /** The problem that it reported. */
  #trouble: string | undefined;

  constructor(
    private readonly watched: Watched,
    private readonly intervalMs: number,
  ) {}

  /** @returns the problem, as a sentence; undefined: none */
  look(now: number, passedMs: number): string | undefined {
    const { name, lastAnswer, ask } = this.watched;
    if (this.#trouble !== undefined) return `${name} ${this.#trouble}`;
    if (this.#waitedMs === undefined) {
      if (now - lastAnswer() >= this.intervalMs) this.#begin(ask());
      return undefined;
    }
    this.#waitedMs += passedMs;
    const seconds = Math.round((now - lastAnswer()) / 1000);
    return this.#waitedMs >= PARTS_TO_ANSWER * this.intervalMs
      ? `${name} has not answered for ${seconds} s`
      : undefined;
  }

  #begin(answer: Promise<void> | undefined): void {
    if (answer === undefined) return;
    this.#waitedMs = 0;
    const answered = (): void => {
      this.#waitedMs = undefined;
    };
    answer.then(answered, (error: unknown) => {
      answered();
      // Reported at the next check only: if the appliance has just ended, that is noticed earlier, and reported better,
      // elsewhere.
      this.#trouble = `does not work: ${messageOf(error)}`;
    });
  }
}
