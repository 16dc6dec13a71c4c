/** The content of an upload, in pieces that the service accepts. */
import { Readable } from 'node:stream';

/** The source of an upload: bytes, or anything that yields them, such as `createReadStream(path)`. */
export type UploadSource = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** The service accepts at most 1 MiB in one message. */
const PIECE_LIMIT = 1024 * 1024;

/** The same bytes, not copied, in pieces of at most 1 MiB. */
export async function* piecesOf(source: UploadSource): AsyncGenerator<Buffer> {
  for await (const chunk of source instanceof Uint8Array ? [source] : source) {
    for (let start = 0; start < chunk.length; start += PIECE_LIMIT) {
      const piece = chunk.subarray(start, start + PIECE_LIMIT);
      yield Buffer.from(piece.buffer, piece.byteOffset, piece.length);
    }
  }
}

/** Destroys a stream that is no longer needed, even while it waits for data; leaves other sources alone. */
export function abandon(source: UploadSource): void {
  if (source instanceof Readable) source.destroy();
}
