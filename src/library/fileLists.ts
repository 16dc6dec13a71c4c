/** Lists of directories, in batches. */
import { find0, ls0, readdirUntil148 } from '../../gen/calls/file.js';
import { internalReaddir } from '../../gen/calls/internal.js';
import { decodeDirent } from '../../gen/calls/structs.js';
import type { FileLibraryActions } from '../../gen/libraryActions.js';
import { pieces } from './pieces.js';
import { BATCH_SIZE, inBatches, namesOf, recordsOf, sortedRuns, type SortingWindow } from './records.js';

/** Most directories are sorted as a whole, at a bounded price in memory. */
const DIRECTORY_WINDOW: SortingWindow = { names: 32_768, bytes: 1024 * 1024 };
/** A tree can be large and slow to walk: its first names are not to wait for the others. */
const TREE_WINDOW: SortingWindow = { names: BATCH_SIZE, bytes: 64 * 1024 };

export const fileListActions: Pick<FileLibraryActions, 'ls' | 'find' | 'readdir'> = {
  async *ls(context, { directory }) {
    const names = namesOf(pieces(context, ls0, { dir: directory }), context.action.name);
    for await (const listing of sortedRuns(names, DIRECTORY_WINDOW)) yield { listing };
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
