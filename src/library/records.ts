/** Downloads that are lists: of names, or of records in XDR. */
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText } from '../common/guestText.js';
import { inTime } from '../common/waiting.js';
import { XdrDecoder, XdrError } from '../xdr/decoder.js';

/** Maximum items per answer. */
export const BATCH_SIZE = 1000;
/** Longest name or record accepted, bytes; daemons send each in one chunk of 8 KiB. */
const MAX_RECORD = 64 * 1024;

const EMPTY = Buffer.alloc(0);

/** Splits a list into parts that fit in one answer each. */
export function* inBatches<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let at = 0; at < items.length; at += BATCH_SIZE) yield items.slice(at, at + BATCH_SIZE);
}

function malformed(action: string, what: string, cause?: unknown): GuestfsError {
  return new GuestfsError('DAEMON_ERROR', `${action}: the daemon sent ${what}`, { cause });
}

/** The names in a file of zero-terminated names; anything after the last zero byte is ignored, as by the library. */
export async function* namesOf(source: AsyncIterable<Buffer>, action: string): AsyncGenerator<Buffer[]> {
  let rest: Buffer = EMPTY;
  for await (const piece of source) {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const names: Buffer[] = [];
    let start = 0;
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, start)) {
      names.push(bytes.subarray(start, end));
      start = end + 1;
    }
    rest = bytes.subarray(start);
    if (rest.length > MAX_RECORD) throw malformed(action, `a name of more than ${MAX_RECORD} bytes`);
    if (names.length > 0) yield names;
  }
}

/** How much is sorted at once. */
export interface SortingWindow {
  readonly names: number;
  readonly bytes: number;
  /** Longest time that a name waits for later ones, milliseconds; undefined: no limit. */
  readonly milliseconds?: number;
}

/**
 * Sorts bytewise, as the library does, one window at a time: a list longer than the window comes in
 * several sorted runs, because it is never held completely in memory.
 */
export async function* sortedRuns(
  source: AsyncIterable<readonly Buffer[]>,
  window: SortingWindow,
): AsyncGenerator<string[]> {
  const { milliseconds = Infinity } = window;
  let held: Buffer[] = [];
  let bytes = 0;
  let heldSince = 0;
  const run = (): string[] => {
    const names = held.sort((one, other) => Buffer.compare(one, other)).map(decodeGuestText);
    held = [];
    bytes = 0;
    return names;
  };
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const coming = iterator.next();
      if (held.length > 0 && milliseconds < Infinity) {
        const late = (await inTime(heldSince + milliseconds - performance.now(), 'late', coming)) === 'late';
        if (late) yield* inBatches(run());
      }
      const result = await coming;
      if (result.done === true) break;
      if (held.length === 0) heldSince = performance.now();
      for (const name of result.value) {
        held.push(name);
        bytes += name.length;
        if (held.length >= window.names || bytes >= window.bytes) {
          yield* inBatches(run());
          heldSince = performance.now();
        }
      }
    }
  } finally {
    await iterator.return?.();
  }
  yield* inBatches(run());
}

/** The records in a file of concatenated records. */
export async function* recordsOf<Item>(
  source: AsyncIterable<Buffer>,
  decode: (reader: XdrDecoder) => Item,
  action: string,
): AsyncGenerator<Item[]> {
  let rest: Buffer = EMPTY;
  let failure: unknown;
  for await (const piece of source) {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const items: Item[] = [];
    const reader = new XdrDecoder(bytes);
    let { remaining } = reader;
    try {
      while (remaining > 0) {
        items.push(decode(reader));
        ({ remaining } = reader);
      }
    } catch (error) {
      if (!(error instanceof XdrError)) throw error;
      // The rest may still arrive; if not, this is the error.
      failure = error;
    }
    rest = bytes.subarray(bytes.length - remaining);
    if (rest.length > MAX_RECORD) throw malformed(action, 'an invalid record', failure);
    yield* inBatches(items);
  }
  if (rest.length > 0) throw malformed(action, 'an incomplete record', failure);
}
