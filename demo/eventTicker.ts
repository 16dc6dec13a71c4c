/** Prints the session's events next to the calls, and keeps what the live line shows of them. */
import { EventType, type SubscribeResponse } from '../gen/proto/guestfs/v1/event.js';
import type { Narrator } from './narrator.js';
import { harmless, seconds } from './terminal/format.js';

const NAMES: Partial<Record<EventType, string>> = {
  [EventType.CLOSE]: 'the session ends',
  [EventType.SUBPROCESS_QUIT]: 'the appliance exited',
  [EventType.LAUNCH_DONE]: 'launch done: the daemon accepts calls',
};

export class EventTicker {
  readonly #out: Narrator;
  readonly #counts = new Map<EventType, number>();
  #lost = 0n;
  #muted = false;
  #startedAt = 0;
  #console = '';
  #progress: { readonly position: bigint; readonly total: bigint } | undefined;

  constructor(out: Narrator) {
    this.#out = out;
  }

  /** Last line of the appliance's console. */
  get console(): string {
    return this.#console;
  }

  /** Progress of the running call, once it reports any. */
  get progress(): { readonly position: bigint; readonly total: bigint } | undefined {
    return this.#progress;
  }

  /** Stops printing, but keeps counting. */
  mute(muted: boolean): void {
    this.#muted = muted;
  }

  /** Handles events until there are no more. */
  async follow(events: AsyncIterable<SubscribeResponse>): Promise<void> {
    try {
      for await (const event of events) this.#handle(event);
    } catch (error) {
      this.#print(`no more events: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Number of events of each kind. */
  summary(): string {
    const kinds = [...this.#counts].map(([type, count]) => `${count} ${EventType[type].toLowerCase()}`);
    return `${kinds.join(', ')}; ${this.#lost === 0n ? 'none' : this.#lost} lost`;
  }

  #handle(event: SubscribeResponse): void {
    this.#counts.set(event.type, (this.#counts.get(event.type) ?? 0) + 1);
    this.#lost += event.lost;
    const { detail } = event;
    if (detail?.$case === 'progress') {
      this.#progress = detail.value;
    } else if (detail?.$case === 'call') {
      this.#call(event.type, detail.value);
    } else if (event.type === EventType.APPLIANCE) {
      if (detail?.$case === 'message') this.#console = lastLine(detail.value) ?? this.#console;
    } else if (detail?.$case === 'message') {
      this.#print(`${EventType[event.type].toLowerCase()}: ${harmless(detail.value)}`);
    } else {
      const name = NAMES[event.type];
      if (name !== undefined) this.#print(name);
    }
  }

  #call(
    type: EventType,
    { action, error_reason: reason }: { readonly action: string; readonly error_reason: string },
  ): void {
    if (type === EventType.STARTED) {
      this.#startedAt = performance.now();
      this.#progress = undefined;
    }
    if (type !== EventType.FINISHED) return;
    const took = seconds(performance.now() - this.#startedAt);
    this.#print(reason === '' ? `finished ${action}, ${took} after it started` : `${action} failed: ${reason}`);
  }

  #print(line: string): void {
    if (!this.#muted) this.#out.event(line);
  }
}

function lastLine(text: string): string | undefined {
  return text
    .split(/[\r\n]+/)
    .map((line) => harmless(line).trim())
    .findLast((line) => line !== '');
}
