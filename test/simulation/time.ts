/** Simulated time: every timer and clock of this process, driven from one timer to the next. */
// Not a later version: from 15.2 on, `refresh` of one timer can hide others.
import { withGlobal, type FakeMethod, type InstalledClock } from '@sinonjs/fake-timers';

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
  readonly #clock: InstalledClock = withGlobal(globalThis).install({ now: START, toFake: FAKED });

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
      readonly timers?: Readonly<Record<number, { readonly callAt: number; readonly interval?: number }>>;
    };
    return Object.values(timers ?? {}).map(
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
