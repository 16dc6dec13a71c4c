/** The session ID in the metadata of a call. */
import type { Metadata } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';

/** The metadata key. Proxies can route on it. */
export const SESSION_HEADER = 'guestfs-session';

/** @throws GuestfsError SESSION_MISSING unless there is exactly one */
export function sessionIdOf(metadata: Metadata): string {
  const [id, ...more] = metadata.get(SESSION_HEADER);
  // HTTP joins repeated headers with a comma, which no ID contains.
  const doubled = more.length > 0 || (typeof id === 'string' && id.includes(','));
  if (typeof id === 'string' && !doubled) return id;
  throw new GuestfsError(
    'SESSION_MISSING',
    doubled
      ? `the metadata key "${SESSION_HEADER}" is there more than once`
      : `the call names no session: set the metadata key "${SESSION_HEADER}" to the ID that CreateSession returned`,
  );
}
