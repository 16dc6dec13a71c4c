/** The session ID in the metadata of a call. */
import { Metadata } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';

/** The metadata key. Proxies can route on it. */
export const SESSION_HEADER = 'guestfs-session';

/** @throws GuestfsError SESSION_MISSING unless there is exactly one */
export function sessionIdOf(metadata: Metadata): string {
  const id = givenSessionId(metadata);
  if (id !== undefined) return id;
  throw new GuestfsError(
    'SESSION_MISSING',
    `the call names no session: set the metadata key "${SESSION_HEADER}" to the ID that CreateSession returned`,
  );
}

/**
 * The session ID, if there is one.
 * @throws GuestfsError SESSION_MISSING if there is more than one
 */
export function givenSessionId(metadata: Metadata): string | undefined {
  const [id, ...more] = metadata.get(SESSION_HEADER);
  // HTTP joins repeated headers with a comma, which no ID contains.
  if (more.length === 0 && (id === undefined || (typeof id === 'string' && !id.includes(',')))) return id;
  throw new GuestfsError('SESSION_MISSING', `the metadata key "${SESSION_HEADER}" is there more than once`);
}

/** Metadata of a response that names the session. */
export function sessionMetadata(id: string): Metadata {
  const metadata = new Metadata();
  metadata.set(SESSION_HEADER, id);
  return metadata;
}
