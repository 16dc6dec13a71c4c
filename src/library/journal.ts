/** Reading the systemd journal. */
import { internalJournalGet } from '../../gen/calls/internal.js';
import type { JournalLibraryActions } from '../../gen/libraryActions.js';
import type { Xattr } from '../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText } from '../common/guestText.js';
import { answerTooLarge } from '../common/messageLimits.js';
import { ANSWER_LIMIT } from './answerLimit.js';
import { collect } from './collect.js';

const LENGTH_SIZE = 8;
const EQUALS = '='.charCodeAt(0);

/** The fields of an entry: each is a 64-bit length and so many bytes, `NAME=value`. */
export function* fieldsOf(bytes: Buffer): Generator<Xattr> {
  for (let at = 0; at < bytes.length;) {
    if (at + LENGTH_SIZE > bytes.length) throw malformed('is cut off');
    const length = bytes.readBigUInt64BE(at);
    at += LENGTH_SIZE;
    if (length > BigInt(bytes.length - at)) throw malformed('has a field longer than itself');
    const field = bytes.subarray(at, at + Number(length));
    const equals = field.indexOf(EQUALS);
    const name = field.subarray(0, Math.max(equals, 0));
    if (equals < 0 || name.includes(0)) throw malformed('has a field without a name');
    yield { attrname: decodeGuestText(name), attrval: field.subarray(equals + 1) };
    at += field.length;
  }
}

function malformed(what: string): GuestfsError {
  return new GuestfsError('DAEMON_ERROR', `journal_get: the entry that the daemon sent ${what}`);
}

export const journalActions: JournalLibraryActions = {
  journal_get: async ({ action, daemon }) => {
    const bytes = await collect(daemon, internalJournalGet, {}, ANSWER_LIMIT, () => answerTooLarge(action.name, ANSWER_LIMIT));
    return { fields: [...fieldsOf(bytes)] };
  },
};
