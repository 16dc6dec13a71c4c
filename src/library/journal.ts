/** Reading the systemd journal. */
import { internalJournalGet } from '../../gen/calls/internal.js';
import { insteadOfLargeAnswer } from '../actions/byName.js';
import type { JournalLibraryActions } from '../../gen/libraryActions.js';
import type { Xattr } from '../../gen/proto/guestfs/v1/structs.js';
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText } from '../common/guestText.js';
import { answerTooLarge } from '../common/messageLimits.js';
import { MAX_CHUNK_SIZE } from '../protocol/constants.js';
import { NothingMoreComes } from '../protocol/fileTransfer.js';
import type { Daemon } from '../session/daemon.js';
import { ANSWER_LIMIT } from './answerLimit.js';

const LENGTH_SIZE = 8;
const EQUALS = '='.charCodeAt(0);

/** The fields of an entry: each is a 64-bit length and that many bytes, `NAME=value`. */
export function* fieldsOf(bytes: Buffer): Generator<Xattr> {
  for (let at = 0; at < bytes.length; ) {
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

/**
 * Receives an entry. The daemon sends the length of each field, then the field in one chunk. If a field
 * does not fit in a chunk, it sends neither that field nor anything after it, and waits for the next
 * call. The threshold does not help: systemd does not truncate a field that it has in memory.
 */
async function receiveEntry(daemon: Daemon, action: string): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  /** Offset of the next length. */
  let next = 0;
  await daemon.download(internalJournalGet, {}, async (delivered) => {
    bytes = Buffer.concat([bytes, ...delivered]);
    if (bytes.length > ANSWER_LIMIT) throw answerTooLarge(action, ANSWER_LIMIT);
    while (next + LENGTH_SIZE <= bytes.length) {
      const length = bytes.readBigUInt64BE(next);
      if (length > BigInt(MAX_CHUNK_SIZE)) throw new NothingMoreComes(fieldTooLong(action, length));
      next += LENGTH_SIZE + Number(length);
    }
  });
  return bytes;
}

function fieldTooLong(action: string, length: bigint): GuestfsError {
  return new GuestfsError(
    'MESSAGE_TOO_LARGE',
    `${action}: the entry has a field of ${length} bytes, but the daemon sends at most ${MAX_CHUNK_SIZE}; ${insteadOfLargeAnswer(action) ?? ''}`,
    {
      metadata: { limit: String(MAX_CHUNK_SIZE) },
    },
  );
}

function malformed(what: string): GuestfsError {
  return new GuestfsError('DAEMON_ERROR', `journal_get: the entry that the daemon sent ${what}`);
}

export const journalActions: JournalLibraryActions = {
  journal_get: async ({ action, daemon }) => {
    const entry = await receiveEntry(daemon, action.name);
    return { fields: [...fieldsOf(entry)] };
  },
};
