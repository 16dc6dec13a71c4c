/**
 * Finds out that something no longer answers.
 *
 * It is asked only when it has said nothing for a while. What counts is time in which this process has run: when the
 * whole host was suspended, or this process got no processor, nobody had the chance to answer.
 */
import { GuestfsError, messageOf } from '../common/errors.js';

/** Something that answers when it is asked. */
export interface Watched {
  /** What it is, as the subject of a sentence. */
  readonly name: string;
  /** When it last said anything, on the clock of `performance`. */
  readonly lastAnswer: () => number;
  /**
   * Asks it; undefined: it cannot be asked now, because it is busy with what has a limit of its own.
   * Rejects if it answers that it does not work, or can no longer be asked.
   */
  readonly ask: () => Promise<void> | undefined;
}

/** Parts of the limit, after each of which the watch looks: silence for one part is noticed within two. */
const PARTS = 4;
/** ... and those that are left for the answer. */
const PARTS_TO_ANSWER = 2;
/** A turn of the watch that comes later than this many times its interval was held up by this process itself. */
const LATE = 1.5;

/**
 * Watches until it is stopped, or something does not answer.
 * @param limitMs how long it takes at most until `onDead` is called
 * @returns how to stop
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

/** How long one of them has been silent. */
class Silence {
  /** How long it has been asked; undefined: it has answered. */
  #waitedMs: number | undefined;
  /** What it said that is wrong with it. */
  #trouble: string | undefined;

  constructor(
    private readonly watched: Watched,
    private readonly intervalMs: number,
  ) {}

  /** @returns what is wrong with it, as a sentence */
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
      // Told at the next look: what has just ended is noticed elsewhere, and better, before that.
      this.#trouble = `does not work: ${messageOf(error)}`;
    });
  }
}
