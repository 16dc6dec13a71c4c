/** What is examined when a call has succeeded, as its record says. */
import type { Afterwards } from '../actions/types.js';
import type { Ask } from './ask.js';
import { warnOfOtherSectors } from './otherSectors.js';
import { requireMountedAsAsked } from './readOnlyMounts.js';

/** A call that has succeeded. */
export interface Succeeded {
  readonly request: unknown;
  readonly response: unknown;
  readonly ask: Ask;
  /** Tells the client, without making the call fail. */
  readonly warn: (message: string) => void;
}

/** @throws GuestfsError the failure of the call, which is none only as far as the daemon knows */
export const AFTERWARDS: Readonly<Record<Afterwards, (call: Succeeded) => Promise<void>>> = {
  'is it writable': ({ request, ask }) => requireMountedAsAsked(request, ask),
  'has it other sectors': ({ response, ask, warn }) => warnOfOtherSectors(response, ask, warn),
};
