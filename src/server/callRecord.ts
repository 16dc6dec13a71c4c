/** The record of a call: one line of the log. */
import { performance } from 'node:perf_hooks';
import type { CallRules } from '../actions/callRules.js';
import type { LogFields, Logger } from '../common/logger.js';
import { shorten } from './statusMapping.js';

/** Of an error's text; a daemon's can have 64 KiB. */
const MESSAGE_LIMIT = 500;

/** What a record tells of the RPC. */
export type RecordedRpc = Pick<CallRules, 'name' | 'mutating'>;

/** How a call ended that did not succeed. */
export interface CallFailure {
  readonly reason: string;
  readonly message: string;
}

/**
 * Collects facts about one call and logs them when it ends: at level info if the call is mutating or failed, otherwise
 * at debug. Requests are never logged, because they
 * can contain keys; the text of an error can quote names from one.
 */
export class CallRecord {
  readonly #rules: RecordedRpc;
  readonly #logger: Logger;
  readonly #started = performance.now();
  #fields: LogFields = {};

  constructor(rules: RecordedRpc, logger: Logger) {
    this.#rules = rules;
    this.#logger = logger;
  }

  /** Adds fields. */
  note(fields: LogFields): void {
    this.#fields = { ...this.#fields, ...fields };
  }

  /** Writes the line; `failure` is undefined for a call that succeeded. */
  write(failure: CallFailure | undefined): void {
    const level = failure !== undefined || this.#rules.mutating ? 'info' : 'debug';
    this.#logger[level](failure === undefined ? 'call succeeded' : 'call failed', {
      action: this.#rules.name,
      ...this.#fields,
      ms: Math.round((performance.now() - this.#started) * 10) / 10,
      // Without a stack: it is the client's failure, and can come with every call.
      ...(failure === undefined
        ? {}
        : { reason: failure.reason, err: { message: shorten(failure.message, MESSAGE_LIMIT) } }),
    });
  }
}
