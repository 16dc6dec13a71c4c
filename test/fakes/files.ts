/** Files that are uploaded and downloaded: where their bytes come from, and where they go. */

/** A file in pieces. */
export async function* pieces(...buffers: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* buffers;
}

/** Bytes whose values depend on their position. */
export function pattern(size: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(size);
  for (let index = 0; index < size; index += 1) bytes[index] = index * 31 + seed * 17 + (index >> 8);
  return bytes;
}

/** A source that yields these pieces and then nothing more, not even its end. */
export class EndlessSource implements AsyncIterable<Buffer> {
  #given = 0;
  pulled = 0;
  returned = false;

  constructor(readonly buffers: readonly Buffer[]) {}

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return {
      next: async () => {
        this.pulled += 1;
        const value = this.buffers[this.#given];
        this.#given += 1;
        return value === undefined ? new Promise<never>(() => undefined) : { done: false, value };
      },
      return: async () => {
        this.returned = true;
        return { done: true, value: undefined };
      },
    };
  }
}

/** An endless source, which counts what was read from it. */
export class BottomlessSource implements AsyncIterable<Buffer> {
  taken = 0;

  constructor(readonly size: number) {}

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return {
      next: async () => {
        this.taken += this.size;
        return { done: false, value: Buffer.alloc(this.size) };
      },
    };
  }
}

/** Collects what is delivered. */
export function collector(): {
  readonly deliver: (pieces: readonly Buffer[]) => Promise<void>;
  readonly sizes: number[];
  data(): Buffer;
} {
  const parts: Buffer[] = [];
  const sizes: number[] = [];
  return {
    deliver: async (delivered) => {
      parts.push(...delivered);
      sizes.push(delivered.reduce((sum, piece) => sum + piece.length, 0));
    },
    sizes,
    data: () => Buffer.concat(parts),
  };
}

/** A file in chunks. */
export function cut(data: Buffer, size = 8192): Buffer[] {
  return Array.from({ length: Math.ceil(data.length / size) }, (_, index) =>
    data.subarray(index * size, (index + 1) * size),
  );
}
