/** Walks of The Sleuth Kit and scans of Yara, in batches. */
import { internalFilesystemWalk, internalFindInode, internalYaraScan } from '../../gen/calls/internal.js';
import { decodeTskDirent, decodeYaraDetection } from '../../gen/calls/structs.js';
import type { ForensicsLibraryActions } from '../../gen/libraryActions.js';
import { pieces } from './pieces.js';
import { recordsOf } from './records.js';

export const forensicsActions: ForensicsLibraryActions = {
  async *filesystem_walk(context, { device }) {
    const records = recordsOf(
      pieces(context, internalFilesystemWalk, { device }),
      decodeTskDirent,
      context.action.name,
    );
    for await (const dirents of records) yield { dirents };
  },
  async *find_inode(context, { device, inode }) {
    const records = recordsOf(
      pieces(context, internalFindInode, { device, inode }),
      decodeTskDirent,
      context.action.name,
    );
    for await (const dirents of records) yield { dirents };
  },
  async *yara_scan(context, { path }) {
    const records = recordsOf(pieces(context, internalYaraScan, { path }), decodeYaraDetection, context.action.name);
    for await (const detections of records) yield { detections };
  },
};
