/**
 * A disk with a volatile write cache, which remembers everything that was written to it: it can tell what a loss of
 * power may have left at any moment. What was written before a flush, or durably (FUA), is there. Of everything else each
 * write may be there, or not, or in part: drives reorder what they have cached, and guarantee only single sectors. These
 * have 4 KiB, as in all current drives: with 512 bytes, ext4 could lose its superblock of 1 KiB, whatever is flushed.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Random } from '../../fuzz/engine/random.js';
import type { ServedDisk } from '../../support/nbdServer.js';

const SECTOR_BYTES = 4096;
/** The unit in which images are written to files; a power of two. */
const CHUNK_BYTES = 1 << 16;

interface Write {
  readonly offset: number;
  readonly data: Buffer;
  readonly durable: boolean;
}

/** What happens to writes that were in the cache: all are lost, none is, or each at random. */
export type Loss = 'all' | 'none' | 'random';

export class VolatileDisk implements ServedDisk {
  readonly #content: Buffer;
  readonly #log: (Write | 'flush')[] = [];

  constructor(readonly size: number) {
    this.#content = Buffer.alloc(size);
  }

  /** The present moment: the number of writes and flushes so far. */
  get position(): number {
    return this.#log.length;
  }

  read(offset: number, length: number): Buffer {
    // Copied, because it is sent later.
    return Buffer.from(this.#content.subarray(offset, offset + length));
  }

  write(offset: number, data: Buffer, durable: boolean): void {
    data.copy(this.#content, offset);
    this.#log.push({ offset, data, durable });
  }

  flush(): void {
    this.#log.push('flush');
  }

  /** Number of writes that a loss of power at this moment may lose. */
  unflushedAt(position: number): number {
    return this.#unflushed(position).filter(({ durable }) => !durable).length;
  }

  /** What a loss of power at this moment may leave, as a file. */
  writeImage(path: string, position: number, loss: Loss, random: Random): void {
    const content = Buffer.alloc(this.size);
    const chunks = new Set<number>();
    const apply = (offset: number, data: Buffer): void => {
      data.copy(content, offset);
      const last = (offset + data.length - 1) & -CHUNK_BYTES;
      for (let chunk = offset & -CHUNK_BYTES; chunk <= last; chunk += CHUNK_BYTES) chunks.add(chunk);
    };
    const flushed = this.#lastFlush(position);
    for (const entry of this.#log.slice(0, flushed)) if (entry !== 'flush') apply(entry.offset, entry.data);
    for (const { offset, data, durable } of this.#unflushed(position)) {
      if (durable || loss === 'none') apply(offset, data);
      else if (loss === 'random') applySome(apply, offset, data, random);
    }
    const file = openSync(path, 'w');
    try {
      ftruncateSync(file, this.size);
      for (const chunk of chunks) writeSync(file, content, chunk, Math.min(CHUNK_BYTES, this.size - chunk), chunk);
    } finally {
      closeSync(file);
    }
  }

  #lastFlush(position: number): number {
    return this.#log.lastIndexOf('flush', position - 1) + 1;
  }

  #unflushed(position: number): Write[] {
    return this.#log.slice(this.#lastFlush(position), position).filter((entry) => entry !== 'flush');
  }
}

/** Applies a write, or a part of it, or nothing. */
function applySome(apply: (offset: number, data: Buffer) => void, offset: number, data: Buffer, random: Random): void {
  switch (random.below(3)) {
    case 0:
      return apply(offset, data);
    case 1:
      for (let at = 0; at < data.length; ) {
        const next = Math.min(data.length, ((offset + at + SECTOR_BYTES) & -SECTOR_BYTES) - offset);
        if (random.once(2)) apply(offset + at, data.subarray(at, next));
        at = next;
      }
  }
}
