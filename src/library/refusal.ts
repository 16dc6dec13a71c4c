/** Arguments that the library refuses, in the library's words. */
import { GuestfsError } from '../common/errors.js';

/**
 * The error for an argument that cannot be right.
 * @param field name of the argument in the request
 * @param text the whole message, as the library has it where it has one
 */
export function refused(field: string, text: string): GuestfsError {
  return new GuestfsError('BAD_ARGUMENT', text, { fields: [{ field, description: text }] });
}
