/** Actions of the C library that mean something only inside the process that calls it. */
import { GuestfsError } from '../common/errors.js';
import type { LibraryContext } from './context.js';

/** The answer to such an action: why not, and what to use instead. */
export function notOverNetwork(action: string, why: string, instead: string): GuestfsError {
  return new GuestfsError('NOT_OVER_NETWORK', `${action} does not work over a network: ${why}. Instead, ${instead}`);
}

/** Refuses an action that is marked so in the action list, with what the list says of it. */
export async function refuse({ action }: Pick<LibraryContext, 'action'>): Promise<never> {
  if (action.notOverNetwork === undefined)
    throw new Error(`${action.name} is not marked as one that does not work over a network`);
  throw notOverNetwork(action.name, action.notOverNetwork.why, action.notOverNetwork.instead);
}
