/**
 * Turns with the appliance: one call, or one change of its drives, at a time. Emits events as a call is queued,
 * starts, makes progress and finishes.
 */
import { GuestfsError } from '../common/errors.js';
import { asPart } from '../common/spans.js';
import { abortController, linkedAbort, onAbort, unlessAborted, type LinkedAbort } from '../common/waiting.js';
import type { EventBus } from '../events/eventBus.js';
import type { ProgressDetail } from '../events/sessionEvent.js';
import type { ProgressMessage } from '../protocol/messages.js';
import { CallQueue } from './callQueue.js';
import type { RunningCall } from './runningCalls.js';

/** What happens to a call that continues after its client has given up. */
export interface AbandonedCalls {
  /** How long it may continue, milliseconds. */
  readonly limitMs: () => number;
  /** Ends the appliance, and with it the call. */
  readonly end: () => void;
}

/** In a trace. */
const WAITING = { name: 'queue' } as const;

const NEVER = abortController().signal;

export class Turns {
  readonly #events: EventBus;
  readonly #onOver: () => void;
  readonly #abandoned: AbandonedCalls | undefined;
  readonly #queue = new CallQueue();
  #calls = 0n;
  /** The turn belongs to {@link whenIdle}. */
  #asking = false;
  /** Cancels the transfer of the call that has the turn. */
  #transfer: LinkedAbort | undefined;
  /** The call that has the turn; undefined for anything else that has it. */
  #running: RunningCall | undefined;
  /** When the client of the call that has the turn gave up; undefined: it has not. On the clock of `performance`. */
  #abandonedAt: number | undefined;
  /** The call that the daemon is working on, for its progress messages. */
  #current: Pick<ProgressDetail, 'action' | 'procedure' | 'serial' | 'requestId'> | undefined;

  /**
   * @param onOver called at the end of each turn, before the next begins
   * @param abandoned by default, there is no limit for such calls
   */
  constructor(events: EventBus, onOver: () => void, abandoned?: AbandonedCalls) {
    this.#events = events;
    this.#onOver = onOver;
    this.#abandoned = abandoned;
  }

  /** Number of turns that are taken or waited for. */
  get pending(): number {
    return this.#queue.length - (this.#asking ? 1 : 0);
  }

  /**
   * Runs a call in its turn. When the signal aborts, the caller is answered at once, unless it waits to the end; the
   * turn lasts until `body`, and so the daemon, has finished.
   * @param body its signal aborts with the caller's, and by {@link cancelTransfer}
   * @param running told of its progress; it must have been entered as one that waits
   * @throws GuestfsError QUEUE_FULL; the signal's reason; what `body` throws
   */
  async call<Value>(
    action: string,
    signal: AbortSignal,
    body: (signal: AbortSignal) => Promise<Value>,
    running?: RunningCall,
  ): Promise<Value> {
    this.#calls += 1n;
    const number = this.#calls;
    const requestId = running?.caller.requestId ?? '';
    const emit = (kind: 'queued' | 'started' | 'finished', errorReason = ''): void => {
      this.#events.emit({ kind, call: { action, number, errorReason, requestId } });
    };
    emit('queued');
    const release = await asPart(signal, WAITING, () => this.#queue.turn(signal)).catch((error: unknown) => {
      running?.over();
      emit('finished', GuestfsError.from(error).reason);
      throw error;
    });
    running?.starts();
    this.#running = running;
    const transfer = linkedAbort([signal]);
    this.#transfer = transfer;
    emit('started');
    const work = async (): Promise<Value> => {
      try {
        const value = await body(transfer.signal);
        emit('finished');
        return value;
      } catch (error) {
        emit('finished', GuestfsError.from(error).reason);
        throw error;
      } finally {
        transfer.release();
        this.#transfer = undefined;
        this.#running = undefined;
        running?.over();
      }
    };
    return this.#untilOver(release, signal, work, running?.caller.toTheEnd === true);
  }

  /** The call that has the turn, if its client has given it up. */
  get abandoned(): { readonly call: RunningCall; readonly leftMs: number } | undefined {
    const call = this.#running;
    if (call?.caller.isAbandoned !== true) return undefined;
    const limit = this.#abandoned?.limitMs() ?? Infinity;
    const since = this.#abandonedAt ?? performance.now();
    return { call, leftMs: Math.max(0, since + limit - performance.now()) };
  }

  /** Runs work that must not overlap a daemon call; like {@link call}, but without events. */
  async hold(signal: AbortSignal, body: () => Promise<void>): Promise<void> {
    await this.#untilOver(await asPart(signal, WAITING, () => this.#queue.turn(signal)), signal, body);
  }

  /** Sends the daemon a question in a turn that does not count as use; undefined: the daemon has other work. */
  whenIdle(ask: () => Promise<void>): Promise<void> | undefined {
    if (this.#queue.length > 0) return undefined;
    return this.#ask(ask);
  }

  async #ask(ask: () => Promise<void>): Promise<void> {
    this.#asking = true;
    try {
      const release = await this.#queue.turn(NEVER);
      await ask().finally(release);
    } finally {
      this.#asking = false;
    }
  }

  /** Waits for the turn. The caller must call the returned function when done. */
  take(signal: AbortSignal): Promise<() => void> {
    return this.#queue.turn(signal);
  }

  /** Rejects all calls that wait for their turn. */
  refuseWaiting(reason: GuestfsError): void {
    this.#queue.refuseWaiting(reason);
  }

  /** Cancels the transfer in flight, if any: its call fails with the reason. */
  cancelTransfer(reason: GuestfsError): void {
    this.#transfer?.abort(reason);
  }

  /** The call that has the turn has sent this to the daemon. */
  sent(action: string, procedure: number, serial: number): void {
    this.#current = { action, procedure, serial, requestId: this.#running?.caller.requestId ?? '' };
  }

  /** Handles a progress message; one for anything but the call in flight is ignored. */
  progress({ procedure, serial, position, total }: ProgressMessage): void {
    const current = this.#current;
    if (current?.serial !== serial || current.procedure !== procedure) return;
    this.#events.emit({ kind: 'progress', progress: { ...current, position, total } });
  }

  /** Limits the time of the turn once the client gives up. @returns a function that stops watching */
  #watchAbandoned(signal: AbortSignal): () => void {
    const abandoned = this.#abandoned;
    if (abandoned === undefined) return () => undefined;
    let timer: NodeJS.Timeout | undefined;
    const stopListening = onAbort(signal, () => {
      this.#abandonedAt = performance.now();
      timer = setTimeout(abandoned.end, abandoned.limitMs());
      timer.unref();
    });
    return () => {
      stopListening();
      clearTimeout(timer);
      this.#abandonedAt = undefined;
    };
  }

  async #untilOver<Value>(
    release: () => void,
    signal: AbortSignal,
    body: () => Promise<Value>,
    toTheEnd = false,
  ): Promise<Value> {
    const endWatch = this.#watchAbandoned(signal);
    const whole = body().finally(() => {
      endWatch();
      this.#onOver();
      release();
    });
    return toTheEnd ? whole : unlessAborted(whole, signal);
  }
}
