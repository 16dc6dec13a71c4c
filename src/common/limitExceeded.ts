/** The error for anything that an operator has limited. */
import { GuestfsError } from './errors.js';

/** A limit that a call would exceed. */
export interface ExceededLimit {
  /** Its name: that of its flag, or of the setting. */
  readonly limit: string;
  /** What it is. */
  readonly maximum: number;
  /** A retry makes sense after this many milliseconds; undefined: it never does. */
  readonly retryAfterMs?: number;
}

/** @param text a sentence that says what is too much, and what the maximum is */
export function limitExceeded(text: string, { limit, maximum, retryAfterMs }: ExceededLimit): GuestfsError {
  return new GuestfsError('LIMIT_EXCEEDED', text, {
    metadata: { limit, maximum: String(maximum) },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
