/**
 * Limits how many tasks run concurrently, fairly among clients: waiting tasks take turns client by client, however many
 * a client has.
 */
import { limitExceeded } from './limitExceeded.js';
import { clientBehind } from './onBehalf.js';
import { onAbort, throwIfAborted } from './waiting.js';

export interface FairSemaphoreOptions {
  /** How many tasks may run at a time ... */
  readonly parallel: number;
  /** ... and how many of one client. */
  readonly perClient: number;
  /** How many tasks of one client may wait. */
  readonly waiting: number;
  /** Name of the limit on waiting tasks, for programs ... */
  readonly limit: string;
  /** ... and a description of the tasks, for messages: "tools that create disks". */
  readonly tasks: string;
}

const RETRY_AFTER_MS = 1000;

interface Waiting {
  readonly start: () => void;
}

/** The tasks of one client. */
interface Share {
  running: number;
  /** Position of its last start among all starts; 0 before the first. */
  last: number;
  readonly waiting: Set<Waiting>;
}

export class FairSemaphore {
  readonly #options: FairSemaphoreOptions;
  readonly #shares = new Map<string, Share>();
  #running = 0;
  #starts = 0;

  constructor(options: FairSemaphoreOptions) {
    this.#options = options;
  }

  /**
   * Runs a task when it is its turn. A task whose signal aborts while it waits is never started.
   * @param signal also identifies the client of the task: see onBehalf.ts
   * @throws GuestfsError LIMIT_EXCEEDED if too many tasks of the client are waiting; the reason of `signal`; the task's error
   */
  async run<Value>(task: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    throwIfAborted(signal);
    const client = clientBehind(signal);
    let share = this.#shares.get(client);
    if (share === undefined) {
      share = { running: 0, last: 0, waiting: new Set() };
      this.#shares.set(client, share);
    }
    try {
      if (this.#mayStart(share) && share.waiting.size === 0) this.#start(share);
      else await this.#turn(share, signal);
    } catch (error) {
      this.#forgetIfIdle(client, share);
      throw error;
    }
    try {
      return await task();
    } finally {
      this.#running -= 1;
      share.running -= 1;
      this.#forgetIfIdle(client, share);
      this.#startNext();
    }
  }

  #forgetIfIdle(client: string, share: Share): void {
    if (share.running === 0 && share.waiting.size === 0) this.#shares.delete(client);
  }

  #mayStart({ running }: Share): boolean {
    return this.#running < this.#options.parallel && running < this.#options.perClient;
  }

  #start(share: Share): void {
    this.#running += 1;
    this.#starts += 1;
    share.running += 1;
    share.last = this.#starts;
  }

  /** The next turn goes to the client whose last turn was longest ago. */
  #startNext(): void {
    let turn: Share | undefined;
    for (const share of this.#shares.values()) {
      if (share.waiting.size === 0 || !this.#mayStart(share)) continue;
      if (share.last < (turn?.last ?? Infinity)) turn = share;
    }
    const [next] = turn?.waiting ?? [];
    if (turn === undefined || next === undefined) return;
    this.#start(turn);
    next.start();
  }

  #turn({ waiting }: Share, signal: AbortSignal): Promise<void> {
    const { waiting: most, limit, tasks } = this.#options;
    if (waiting.size >= most) {
      throw limitExceeded(`${most} ${tasks} of this client are waiting already: try again later`, {
        limit,
        maximum: most,
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    return new Promise((resolve, reject) => {
      const one: Waiting = {
        start: () => {
          waiting.delete(one);
          stopListening();
          resolve();
        },
      };
      waiting.add(one);
      const stopListening = onAbort(signal, (reason) => {
        waiting.delete(one);
        reject(reason);
      });
    });
  }
}
