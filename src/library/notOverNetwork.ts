/** Actions of the C library that mean something only inside the process that calls it. */
import { GuestfsError } from '../common/errors.js';

/** The answer to such an action: why not, and what to use instead. */
export function notOverNetwork(action: string, why: string, instead: string): GuestfsError {
  return new GuestfsError('NOT_OVER_NETWORK', `${action} does not work over a network: ${why}. Instead, ${instead}`);
}
