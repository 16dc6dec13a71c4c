/** Reads the bytes of images from files or memory. */

/** A source of bytes: an open file, or a copy of some of its bytes. */
export interface ByteSource {
  /** Reads up to `length` bytes at `position` into `buffer`, starting at `offset`. */
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** Bytes in memory. */
export function bytesInMemory(bytes: Buffer): ByteSource {
  return {
    read: (buffer, offset, length, position) =>
      Promise.resolve({ bytesRead: bytes.subarray(position, position + length).copy(buffer, offset) }),
  };
}

/** The bytes of `rest`, with `head` in place of its start. */
export function beginningWith(head: Buffer, rest: ByteSource): ByteSource {
  return {
    read: (buffer, offset, length, position) =>
      position < head.length
        ? bytesInMemory(head).read(buffer, offset, length, position)
        : rest.read(buffer, offset, length, position),
  };
}

/** A part of a source, as a source of its own. */
export function windowOf(source: ByteSource, at: number, size: number): ByteSource {
  return {
    read: (buffer, offset, length, position) =>
      position >= size
        ? Promise.resolve({ bytesRead: 0 })
        : source.read(buffer, offset, Math.min(length, size - position), at + position),
  };
}

/** Reads `length` bytes at `position`, or fewer at the end. */
export async function readFully(source: ByteSource, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await source.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
