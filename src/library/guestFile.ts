/** Guest files whose contents an action needs. */
import { filesize, isFile, pread } from '../../gen/calls/file.js';
import { download } from '../../gen/calls/transfer.js';
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText, printable } from '../common/guestText.js';
import type { LibraryContext } from './context.js';
import { pieces } from './pieces.js';

const NEWLINE = 0x0a;
/** Longer lines are truncated; no relevant line is longer. */
const MAX_LINE = 64 * 1024;

const EMPTY = Buffer.alloc(0);

function tooLarge(path: string, size: string): GuestfsError {
  return new GuestfsError('EFBIG', `size of ${printable(path)} is unreasonably large (${size} bytes)`);
}

/** @throws GuestfsError if there is no such file, or it is too large to be genuine */
async function requireSound({ daemon }: LibraryContext, path: string, limit: number): Promise<void> {
  const { size } = await daemon.call(filesize, { file: path });
  if (size > BigInt(limit)) throw tooLarge(path, String(size));
  // Reading a device might never end, and reading a named pipe never begin.
  const { fileflag } = await daemon.call(isFile, { path, followsymlinks: true });
  if (!fileflag) throw new GuestfsError('DAEMON_ERROR', `${printable(path)} is not a regular file`);
}

/** A line as the library returns it, up to the first zero byte. */
function asLine(text: string): string {
  const zero = text.indexOf('\0');
  return text.slice(0, zero < 0 ? MAX_LINE : Math.min(zero, MAX_LINE));
}

/**
 * The lines of a text file, without line ends, in batches as they arrive.
 * @throws GuestfsError also if the file has more than `limit` bytes
 */
export async function* linesOfFile(context: LibraryContext, path: string, limit: number): AsyncGenerator<string[]> {
  await requireSound(context, path, limit);
  let rest: Buffer = EMPTY;
  let received = 0;
  for await (const piece of pieces(context, download, { remotefilename: path })) {
    received += piece.length;
    // The reported size may be wrong.
    if (received > limit) throw tooLarge(path, `more than ${limit}`);
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const last = bytes.lastIndexOf(NEWLINE);
    rest = bytes.subarray(last + 1, last + 1 + MAX_LINE);
    if (last >= 0) yield decodeGuestText(bytes.subarray(0, last)).split('\n').map(asLine);
  }
  if (rest.length > 0) yield [asLine(decodeGuestText(rest))];
}

/** True for a file that does not end with a newline. */
export async function endsInLine({ daemon }: LibraryContext, path: string): Promise<boolean> {
  const { size } = await daemon.call(filesize, { file: path });
  if (size === 0n) return false;
  const { content } = await daemon.call(pread, { path, count: 1, offset: size - 1n });
  return content[0] !== NEWLINE;
}
