/** One simulation: its time, chance and faults, what is open on its host, and what has happened. */
import type { Duplex, Readable } from 'node:stream';
import { Random } from '../fuzz/engine/random.js';
import { Faults, type FaultKind } from './faults.js';
import type { SimulatedQemu } from './qemu.js';
import { HostFiles } from './hostFiles.js';
import { SimulatedTime } from './time.js';
import { Trace } from './trace.js';

/** Longest delay of a host that is slow, milliseconds. */
const SLOW_MS = 8000;

export class World {
  readonly random: Random;
  readonly time = new SimulatedTime();
  readonly trace = new Trace(() => this.time.now);
  readonly faults: Faults;
  readonly files = new HostFiles(this);
  /** The qemus that have been started, by process number. */
  readonly qemus = new Map<number, SimulatedQemu>();
  /** The server's ends of channels, with descriptions. */
  readonly channels: { readonly what: string; readonly channel: Duplex }[] = [];
  /** Who takes a connection to a listening socket, by its path. */
  readonly sockets = new Map<string, (stream: Readable) => void>();
  /** What the daemons have answered with success, before the answer was sent. */
  readonly answered = new Map<string, string>();
  /** The first violation of an invariant. */
  violation: string | undefined;
  /** Calls and other operations of clients. */
  operations = 0;
  readonly #open = new Map<string, number>();
  #sleeping = 0;
  #numbers = 0;

  /** Paths of all images. */
  readonly images = new Set<string>();
  readonly #world = (worlds += 1);
  /** Called whenever everything has come to rest. */
  onStep: () => void = () => undefined;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.faults = new Faults(this.random);
    this.trace.note(`faults: ${this.faults.chosen.join(', ')}`);
  }

  note(what: string): void {
    this.trace.note(what);
  }

  /** An invariant does not hold. */
  violate(what: string): void {
    this.trace.note(`VIOLATION: ${what}`);
    this.violation ??= what;
  }

  happens(kind: FaultKind): boolean {
    const happens = this.faults.happens(kind);
    if (happens) this.trace.note(`fault: ${kind}`);
    return happens;
  }

  /** Identifies an image among those of all simulations: the server's record of images in use is one for all. */
  identityOf(path: string): string {
    return `${this.#world} ${path}`;
  }

  /** A number that is used once. */
  next(): number {
    this.#numbers += 1;
    return this.#numbers;
  }

  /** Records that something is open; the returned function, which may be called twice, that it no longer is. */
  opened(what: string): () => void {
    this.#open.set(what, (this.#open.get(what) ?? 0) + 1);
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      const left = (this.#open.get(what) ?? 0) - 1;
      if (left > 0) this.#open.set(what, left);
      else this.#open.delete(what);
    };
  }

  /** What is open, with numbers. */
  get open(): ReadonlyMap<string, number> {
    return this.#open;
  }

  /** Number of timers that belong to the simulated host and its clients, not to the server. */
  get sleeping(): number {
    return this.#sleeping;
  }

  /** Runs `work` later; the returned function prevents it. */
  later(milliseconds: number, work: () => void): () => void {
    this.#sleeping += 1;
    const timer = setTimeout(() => {
      this.#sleeping -= 1;
      pending = false;
      work();
    }, milliseconds);
    let pending = true;
    return () => {
      if (!pending) return;
      pending = false;
      this.#sleeping -= 1;
      clearTimeout(timer);
    };
  }

  /** Waits for a time. */
  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.later(milliseconds, resolve);
    });
  }

  /** A duration up to `most` milliseconds; short ones are as frequent as long ones. */
  duration(most: number): number {
    return Math.floor(most ** (this.random.below(1000) / 1000));
  }

  /** The time that an operation of the host takes. */
  async hostWorks(): Promise<void> {
    if (this.happens('the host is slow')) await this.sleep(this.duration(SLOW_MS));
    else if (this.random.once(4)) await this.sleep(1 + this.random.below(5));
  }
}

let current: World | undefined;
let worlds = 0;

/** The simulation that runs. */
export function world(): World {
  if (current === undefined) throw new Error('no simulation runs');
  return current;
}

/** Begins a simulation; there is one at a time. */
export function begin(seed: number): World {
  if (current !== undefined) throw new Error('a simulation runs already');
  current = new World(seed);
  return current;
}

/** Ends it. */
export function end(): void {
  current?.time.end();
  current = undefined;
}
