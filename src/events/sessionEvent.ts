/** Events of a session. The kinds are libguestfs's, plus a few specific to this server. */

/** Kinds of events, lower case as libguestfs names them. */
export const EVENT_KINDS = [
  'close',
  'subprocess_quit',
  'launch_done',
  'progress',
  'appliance',
  'library',
  'trace',
  'enter',
  'warning',
  'heartbeat',
  'queued',
  'started',
  'finished',
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export interface ProgressDetail {
  readonly action: string;
  readonly procedure: number;
  readonly serial: number;
  readonly position: bigint;
  readonly total: bigint;
  /** What its client calls it by; empty if it has no such name. */
  readonly requestId: string;
}

export interface CallDetail {
  readonly action: string;
  /** Number of the call in its session, from 1. */
  readonly number: bigint;
  /** For `finished`: reason of the error; empty if the call succeeded. */
  readonly errorReason: string;
  /** What its client calls it by; empty if it has no such name. */
  readonly requestId: string;
}

/** One event, before it is numbered. */
export type SessionEvent =
  | { readonly kind: 'close' | 'subprocess_quit' | 'launch_done' | 'heartbeat' }
  | { readonly kind: 'appliance' | 'library' | 'trace' | 'enter' | 'warning'; readonly message: string }
  | { readonly kind: 'progress'; readonly progress: ProgressDetail }
  | { readonly kind: 'queued' | 'started' | 'finished'; readonly call: CallDetail };

/** An event, as delivered to subscribers. */
export interface NumberedEvent {
  readonly event: SessionEvent;
  readonly time: Date;
  /** From 1, over all events of the session. */
  readonly sequence: bigint;
}
