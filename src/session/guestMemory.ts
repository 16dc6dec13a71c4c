/** Recognises calls that failed because the appliance has too little memory: its kernel kills what takes most of it. */
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText } from '../common/guestText.js';
import { killedForMemory } from '../launcher/endOfMachine.js';

/**
 * The error of a call, with the cause if it lacked memory.
 * @param console what the appliance has printed during the call
 */
export function knowingMemory(error: unknown, console: () => Buffer): unknown {
  // The daemon knows only that a program was killed, which has no errno.
  if (!(error instanceof GuestfsError) || error.reason !== 'DAEMON_ERROR') return error;
  const killed = killedForMemory(decodeGuestText(console()));
  if (killed === undefined) return error;
  return new GuestfsError(
    'OUT_OF_MEMORY',
    `${error.message}; the appliance has run out of memory and killed '${killed}': give the session a larger memsize`,
    { ...error.details, cause: error },
  );
}
