/** Simulated time: every timer and clock of this process, driven from one timer to the next. */
import { withGlobal, type Clock, type FakeMethod } from '@sinonjs/fake-timers';

const FAKED: FakeMethod[] = [
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
  'clearImmediate',
  'Date',
  'performance',
];
/** When each simulation begins, milliseconds since 1970. */
const START = Date.UTC(2030, 0, 1);

// The real one is replaced while a simulation runs.
const afterEverything = setImmediate;

/**
 * Resolves when all promises and ticks have run. Nothing in a simulation waits for anything but these and simulated
 * timers, so everything has then come to rest.
 */
export function rest(): Promise<void> {
  return new Promise((resolve) => {
    afterEverything(resolve);
  });
}

export class SimulatedTime {
  readonly #clock: Clock = withGlobal(globalThis).install({ now: START, toFake: FAKED });

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#clock.now - START;
  }

  /** Number of timers that have not fired. */
  get timers(): number {
    return this.#clock.countTimers();
  }

  /** Descriptions of timers that have not fired, for messages. */
  get pending(): string[] {
    const { timers } = this.#clock as unknown as {
      readonly timers?: ReadonlyMap<number, { readonly callAt: number; readonly interval?: number }>;
    };
    return [...(timers?.values() ?? [])].map(
      ({ callAt, interval }) => `at ${callAt - START} ms${interval === undefined ? '' : `, then every ${interval} ms`}`,
    );
  }

  /** Fires the next timer. */
  advance(): void {
    this.#clock.next();
  }

  /** Ends the simulation of time. */
  end(): void {
    this.#clock.uninstall();
  }
}
