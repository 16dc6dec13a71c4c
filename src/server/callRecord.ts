/** The record of a call: one line of the log, and one of the audit log if the call is mutating. */
import { performance } from 'node:perf_hooks';
import type { Metadata } from '@grpc/grpc-js';
import type { LogFields, Logger } from '../common/logger.js';
import type { AuditLog } from './auditLog.js';
import { shorten } from './statusMapping.js';
import type { CallSpan } from './tracing/callSpan.js';

/** Longest error text in a record; a daemon's errors can have 64 KiB. */
const MESSAGE_LIMIT = 500;

/** What a record contains about the RPC. */
export interface RecordedRpc {
  readonly name: string;
  readonly mutating: boolean;
  /** That its client cancels it is no failure. */
  readonly endsWithClient: boolean;
}

/** How a failed call ended. */
export interface CallFailure {
  /** Name of the status; by default, the reason. */
  readonly code?: string;
  readonly reason: string;
  readonly message: string;
}

/**
 * Collects facts about one call, and logs them when the call has been answered and its work has ended: at level info if
 * the call is mutating or failed, otherwise at debug. Requests are never logged, because they
 * can contain keys; the text of an error can quote names from one.
 */
export class CallRecord {
  readonly #rpc: RecordedRpc;
  readonly #logger: Logger;
  readonly #audit: AuditLog | undefined;
  /** Of a traced call. */
  readonly span: CallSpan | undefined;
  readonly #started = performance.now();
  readonly #fields: LogFields = {};
  #images: readonly string[] = [];
  #working = false;
  #begun = false;
  /** How the call was answered; undefined until then. */
  #answer: { readonly failure: CallFailure | undefined } | undefined;

  constructor(rpc: RecordedRpc, logger: Logger, audit?: AuditLog, span?: CallSpan) {
    this.#rpc = rpc;
    this.#logger = logger;
    this.#audit = audit;
    this.span = span;
  }

  /** The RPC's name. */
  get name(): string {
    return this.#rpc.name;
  }

  /** Adds fields. */
  note(fields: LogFields): void {
    Object.assign(this.#fields, fields);
  }

  /** Who made the call, as far as it is known. */
  get identity(): string | undefined {
    return this.#fields.identity;
  }

  /** The call will have a line in the audit log. */
  get isAudited(): boolean {
    return this.#audit !== undefined && this.#rpc.mutating;
  }

  /** The work of the call begins: it may change something from now on. */
  begun(): void {
    this.#begun = true;
  }

  /** Whether the call may have changed something. */
  get mayHaveEffect(): boolean {
    return this.#begun && this.#rpc.mutating;
  }

  /** Images that the request names, for the audit log. */
  names(images: readonly string[]): void {
    this.#images = images;
  }

  /** A handler works on the call: there is no line before {@link ended}. */
  began(): void {
    this.#working = true;
  }

  /** The handler is done. */
  ended(): void {
    this.#working = false;
    this.#write();
  }

  /** The client has its answer, or has disconnected. Only the first call counts; no `failure` means success. */
  answered(failure: CallFailure | undefined): void {
    if (this.#answer !== undefined) return;
    this.#answer = { failure };
    this.#write();
  }

  #write(): void {
    if (this.#working || this.#answer === undefined) return;
    const { failure } = this.#answer;
    if (this.isAudited) this.#writeAudit(failure);
    const expected = failure?.reason === 'CANCELLED' && this.#rpc.endsWithClient;
    this.#endSpan(expected ? { ...failure, reason: undefined } : failure);
    const fields = {
      action: this.#rpc.name,
      ...this.#fields,
      ...this.span?.ids,
      ms: Math.round((performance.now() - this.#started) * 10) / 10,
    };
    if (failure === undefined) {
      this.#logger[this.#rpc.mutating ? 'info' : 'debug']('call succeeded', fields);
      return;
    }
    this.#logger[expected ? 'debug' : 'info']('call failed', {
      ...fields,
      reason: failure.reason,
      // Without a stack: the client has caused it, and can do so with every call.
      err: { message: shorten(failure.message, MESSAGE_LIMIT) },
    });
  }

  #endSpan(failure: { readonly code?: string; readonly reason: string | undefined } | undefined): void {
    const { span } = this;
    if (span === undefined) return;
    const { session, replica } = this.#fields;
    if (session !== undefined) span.set({ 'guestfs.session.id': session });
    if (typeof replica === 'string') span.set({ 'guestfs.replica': replica });
    span.answered({ code: failure?.code ?? failure?.reason ?? 'OK', reason: failure?.reason });
  }

  #writeAudit(failure: CallFailure | undefined): void {
    const { identity, session } = this.#fields;
    this.#audit?.write({
      time: new Date().toISOString(),
      identity,
      session,
      action: this.#rpc.name,
      ...(this.#images.length === 0 ? {} : { images: this.#images }),
      outcome: failure?.reason ?? 'OK',
    });
  }
}

/** The record of a call is a property of its metadata, the only object that interceptors and handlers share. */
const RECORD = Symbol('record');

type Recorded = Metadata & { [RECORD]?: CallRecord };

export function recordUnder(metadata: Metadata, record: CallRecord): void {
  (metadata as Recorded)[RECORD] = record;
}

/** @throws Error if the call has no record */
export function recordOf(metadata: Metadata): CallRecord {
  const record = (metadata as Recorded)[RECORD];
  if (record === undefined) throw new Error('a call has no record');
  return record;
}
