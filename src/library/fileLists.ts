/** Lists of directories, in batches. */
import { find0, ls0, readdirUntil148 } from '../../gen/calls/file.js';
import { internalReaddir } from '../../gen/calls/internal.js';
import { decodeDirent } from '../../gen/calls/structs.js';
import type { FileLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { XdrError, type XdrDecoder } from '../xdr/decoder.js';
import type { LibraryContext } from './context.js';
import { pieces } from './pieces.js';
import { BATCH_SIZE, inBatches, namesOf, recordsOf, sortedRuns, type SortingWindow } from './records.js';
import { isDaemonError } from './tolerance.js';

/** Most directories are sorted in one run, within a memory limit. */
const DIRECTORY_WINDOW: SortingWindow = { names: 32_768, bytes: 1024 * 1024 };
/** A tree can be large and slow to walk: its first names must not wait for the others, and none must wait long. */
const TREE_WINDOW: SortingWindow = { names: BATCH_SIZE, bytes: 64 * 1024, milliseconds: 75 };

/** The name in an entry of internal_readdir; undefined: lists omit it. */
function decodeName(reader: XdrDecoder): Buffer | undefined {
  reader.int64();
  reader.int();
  const name = reader.buffer();
  if (name.includes(0)) throw new XdrError('name with a NUL character');
  const text = name.length <= 2 ? name.toString('latin1') : '';
  return text === '.' || text === '..' ? undefined : name;
}

/** Uses the slow procedure if the daemon lacks the fast one. */
function canBeAskedAgain(error: unknown): boolean {
  return isDaemonError(error) || (error instanceof GuestfsError && error.reason === 'ACTION_NOT_IN_DAEMON');
}

/**
 * The names in a directory, unsorted. For ls0 the daemon sends each name in a separate message; for
 * internal_readdir, whose entries contain more, it sends 8 KiB at a time, which is ten times as fast.
 */
async function* namesIn(context: LibraryContext, directory: string): AsyncGenerator<Buffer[]> {
  if (!context.daemon.version.upTo('1.48')) {
    let begun = false;
    const file = async function* (): AsyncGenerator<Buffer> {
      for await (const piece of pieces(context, internalReaddir, { dir: directory })) {
        begun = true;
        yield piece;
      }
    };
    try {
      for await (const names of recordsOf(file(), decodeName, context.action.name))
        yield names.filter((name) => name !== undefined);
      return;
    } catch (error) {
      // Ask once more: this call fails with the message that the library passes on.
      if (begun || !canBeAskedAgain(error)) throw error;
    }
  }
  yield* namesOf(pieces(context, ls0, { dir: directory }), context.action.name);
}

export const fileListActions: Pick<FileLibraryActions, 'ls' | 'find' | 'readdir'> = {
  async *ls(context, { directory }) {
    for await (const listing of sortedRuns(namesIn(context, directory), DIRECTORY_WINDOW)) yield { listing };
  },
  async *find(context, { directory }) {
    const found = namesOf(pieces(context, find0, { directory }), context.action.name);
    for await (const names of sortedRuns(found, TREE_WINDOW)) yield { names };
  },
  async *readdir(context, { dir }) {
    if (context.daemon.version.upTo('1.48')) {
      const { entries } = await context.daemon.call(readdirUntil148, { dir });
      for (const batch of inBatches(entries)) yield { entries: batch };
      return;
    }
    const records = recordsOf(pieces(context, internalReaddir, { dir }), decodeDirent, context.action.name);
    for await (const entries of records) yield { entries };
  },
};
