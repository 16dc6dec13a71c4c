/** The error for exceeding any of the operator's limits. */
import { GuestfsError } from './errors.js';

/** A limit that a call would exceed. */
export interface ExceededLimit {
  /** Its name: that of the flag or setting. */
  readonly limit: string;
  /** Its value. */
  readonly maximum: number;
  /** Suggested delay before a retry, milliseconds; undefined: a retry is of no use. */
  readonly retryAfterMs?: number;
}

/** @param text a sentence that states what exceeds the limit, and the maximum */
export function limitExceeded(text: string, { limit, maximum, retryAfterMs }: ExceededLimit): GuestfsError {
  return new GuestfsError('LIMIT_EXCEEDED', text, {
    metadata: { limit, maximum: String(maximum) },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
