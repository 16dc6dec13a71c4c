/** File content in one message. */
import { filesize } from '../../gen/calls/file.js';
import { internalWrite, internalWriteAppend } from '../../gen/calls/internal.js';
import { download, upload, uploadOffset } from '../../gen/calls/transfer.js';
import type { FileLibraryActions } from '../../gen/libraryActions.js';
import { decodeGuestText } from '../common/guestText.js';
import { answerTooLarge } from '../common/messageLimits.js';
import { ANSWER_LIMIT } from './answerLimit.js';
import { collect } from './collect.js';
import type { LibraryContext } from './context.js';
import { upToZero } from './cString.js';

/** Contents up to this size go into the request; the library's limit. */
const INLINE_LIMIT = 2 * 1024 * 1024;
/** Size of the pieces of an upload. */
const PIECE_SIZE = 64 * 1024;

/** Overhead of a line in an answer, bytes; only long lines take more. */
const LINE_OVERHEAD = 2;

const NEWLINE = 0x0a;

function readWhole({ action, daemon }: LibraryContext, path: string): Promise<Buffer> {
  return collect(daemon, download, { remotefilename: path }, ANSWER_LIMIT, () =>
    answerTooLarge(action.name, ANSWER_LIMIT),
  );
}

/** Counts the newlines. */
function countNewlines(bytes: Buffer): number {
  let count = 0;
  // Not with indexOf, which is slower if there are many.
  for (let at = 0; at < bytes.length; at += 1) if (bytes[at] === NEWLINE) count += 1;
  return count;
}

/** A line as the library returns it: up to the first zero byte, and without a CR at its end. */
function asLine(text: string): string {
  const zero = text.indexOf('\0');
  const held = zero < 0 ? text : text.slice(0, zero);
  return held.endsWith('\r') ? held.slice(0, -1) : held;
}

/**
 * The lines of a file; the last need not have an end.
 * @throws GuestfsError MESSAGE_TOO_LARGE
 */
function linesOf(bytes: Buffer, action: string): string[] {
  // Do not build a message from millions of empty lines only to refuse it.
  if (countNewlines(bytes) * LINE_OVERHEAD > ANSWER_LIMIT) throw answerTooLarge(action, ANSWER_LIMIT);
  const texts = decodeGuestText(bytes).split('\n');
  if (texts.at(-1) === '') texts.pop();
  return texts.map(asLine);
}

async function* inPieces(content: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += PIECE_SIZE) yield content.subarray(at, at + PIECE_SIZE);
}

export const fileContentActions: Pick<
  FileLibraryActions,
  'cat' | 'read_file' | 'read_lines' | 'write' | 'write_append'
> = {
  cat: async (context, { path }) => ({ content: decodeGuestText(upToZero(await readWhole(context, path))) }),
  read_file: async (context, { path }) => ({ content: await readWhole(context, path) }),
  read_lines: async (context, { path }) => ({ lines: linesOf(await readWhole(context, path), context.action.name) }),
  write: async ({ daemon }, { path, content }) => {
    if (content.length <= INLINE_LIMIT) await daemon.call(internalWrite, { path, content });
    else await daemon.upload(upload, { remotefilename: path }, inPieces(content), BigInt(content.length));
    return {};
  },
  write_append: async ({ daemon }, { path, content }) => {
    if (content.length <= INLINE_LIMIT) {
      await daemon.call(internalWriteAppend, { path, content });
      return {};
    }
    const { size: offset } = await daemon.call(filesize, { file: path });
    await daemon.upload(uploadOffset, { remotefilename: path, offset }, inPieces(content), BigInt(content.length));
    return {};
  },
};
