/** Errors for arguments that the library refuses, with the library's messages. */
import { GuestfsError } from '../common/errors.js';

/**
 * The error for an argument that cannot be valid.
 * @param field name of the argument in the request
 * @param text the complete message; the library's own, if it has one
 */
export function refused(field: string, text: string): GuestfsError {
  return new GuestfsError('BAD_ARGUMENT', text, { fields: [{ field, description: text }] });
}
