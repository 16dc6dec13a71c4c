/** The faults of a simulation: which kinds occur in it, and how often. */
import type { Random } from '../fuzz/engine/random.js';

/** Each kind, and how often it occurs at most where it can: once in this many. */
const KINDS = {
  /** A file, directory, memory file or user cannot be had. */
  'the host fails': 12,
  /** Something on the host takes seconds. */
  'the host is slow': 6,
  /** A program cannot be started. */
  'no process': 6,
  'little memory': 2,
  /** The appliance, or the accelerator, cannot be found. */
  'preflight fails': 6,
  'appliance replaced': 6,
  'stored template damaged': 2,
  'image missing': 6,
  /** qemu reports an error and exits. */
  'qemu does not start': 5,
  'qemu crashes': 3,
  /** Killed from outside. */
  'qemu is killed': 3,
  /** Stopped, as by SIGSTOP: for ever or for a while. */
  'qemu stops': 4,
  'qemu ignores SIGTERM': 4,
  /** It takes long, or ends with an error, when it is asked to exit. */
  'qemu ends badly': 4,
  'monitor refuses': 12,
  'monitor is silent': 20,
  'migration fails': 3,
  'writes fail': 3,
  'boot fails': 4,
  'boot is slow': 4,
  'daemon refuses': 5,
  'daemon is slow': 6,
  'daemon is silent': 12,
  'daemon breaks the protocol': 15,
  /** It answers before it has read the file. */
  'daemon answers early': 3,
  /** The client gives up. */
  'client gives up': 3,
  'client stops sending': 5,
} as const;

export type FaultKind = keyof typeof KINDS;

const NAMES = Object.keys(KINDS) as FaultKind[];
/** One simulation in this many has no faults at all. */
const FAULTLESS = 12;
/** A kind occurs in one simulation of this many: together they would hide one another. */
const CHOSEN = 3;

export class Faults {
  readonly #rates = new Map<FaultKind, number>();
  readonly #counts = new Map<FaultKind, number>();
  #over = false;

  constructor(private readonly random: Random) {
    if (random.once(FAULTLESS)) return;
    for (const kind of NAMES) if (random.once(CHOSEN)) this.#rates.set(kind, KINDS[kind] * random.of([1, 1, 3]));
  }

  /** The kinds that can occur. */
  get chosen(): readonly FaultKind[] {
    return [...this.#rates.keys()];
  }

  /** How often each has occurred. */
  get counts(): ReadonlyMap<FaultKind, number> {
    return this.#counts;
  }

  /** No new faults occur from now on; those that last go on. */
  end(): void {
    this.#over = true;
  }

  /** Whether a fault of this kind occurs now. */
  happens(kind: FaultKind): boolean {
    const rate = this.#rates.get(kind);
    if (rate === undefined || this.#over || !this.random.once(rate)) return false;
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    return true;
  }
}
