/** The calls of a session that wait or run, for those who want to know, and to end one of them. */
import type { GuestfsError } from '../common/errors.js';

/** The client of a call, as far as its session is concerned. */
export interface Caller {
  /** What the client calls it by; undefined: it has given no ID. */
  readonly requestId?: string | undefined;
  /** The client has given the call up, or has disconnected. */
  readonly isAbandoned: boolean;
  /** Gives the call up, as its client can do itself. */
  cancel(reason: GuestfsError): void;
  /** Whoever makes the call learns how it ended even if it is given up. */
  readonly toTheEnd?: boolean;
}

/** A caller that never gives up, such as the server itself. */
export const STEADY: Caller = { isAbandoned: false, cancel: () => undefined };

/** One call. */
export class RunningCall {
  /** When it arrived, on the clock of `performance`. */
  readonly since = performance.now();
  #waits: boolean;

  /**
   * @param name the action's
   * @param mutating whether it changes something
   * @param waits whether it waits for its turn
   */
  constructor(
    readonly name: string,
    readonly mutating: boolean,
    readonly caller: Caller,
    waits: boolean,
    private readonly calls: Set<RunningCall>,
  ) {
    this.#waits = waits;
    calls.add(this);
  }

  /** It waits for its turn: nothing was done yet. */
  get waits(): boolean {
    return this.#waits;
  }

  /** Its turn has come. */
  starts(): void {
    this.#waits = false;
  }

  /** The call and its work are over. */
  over(): void {
    this.calls.delete(this);
  }
}

export class RunningCalls {
  readonly #calls = new Set<RunningCall>();

  /** Enters a call; `over` must be called at its end. The parameters are those of {@link RunningCall}. */
  begin(name: string, mutating: boolean, caller: Caller, waits: boolean): RunningCall {
    return new RunningCall(name, mutating, caller, waits, this.#calls);
  }

  /** All of them, the oldest first. */
  get all(): readonly RunningCall[] {
    return [...this.#calls];
  }

  /** Those with a request ID: more than one if a client repeats a call that changes nothing. */
  withId(requestId: string): readonly RunningCall[] {
    return this.all.filter(({ caller }) => caller.requestId === requestId);
  }
}
