/** The request ID in the metadata of a call: the name that its client has given it, the same in each attempt. */
import type { Metadata } from '@grpc/grpc-js';
import { badArgument } from '../../common/errors.js';

/** The metadata key. */
export const REQUEST_ID_HEADER = 'guestfs-request-id';

const PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * The request ID, if there is one.
 * @throws GuestfsError BAD_ARGUMENT
 */
export function requestIdOf(metadata: Metadata): string | undefined {
  const values = metadata.get(REQUEST_ID_HEADER);
  if (values.length === 0) return undefined;
  const [id] = values;
  // HTTP joins repeated headers with a comma, which no ID contains.
  if (values.length === 1 && typeof id === 'string' && PATTERN.test(id)) return id;
  throw badArgument(REQUEST_ID_HEADER, 'a request ID is one value of 1 to 64 of the characters A-Z a-z 0-9 . _ -');
}
