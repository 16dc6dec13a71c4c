/** Status, attributes and link targets; of many files in batches. */
import { lstatns, statns } from '../../gen/calls/file.js';
import { internalLstatnslist, internalLxattrlist, internalReadlinklist } from '../../gen/calls/internal.js';
import type { AttributeLibraryActions, FileLibraryActions } from '../../gen/libraryActions.js';
import type { Stat, Statns } from '../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from './context.js';

/** Names per request to the daemon; the library's limit. */
const NAMES_AT_ONCE = 1000;

/** Queries many names, in batches. */
async function inBatches<Item>(
  names: readonly string[],
  ask: (some: string[]) => Promise<readonly Item[]>,
): Promise<Item[]> {
  const all: Item[] = [];
  for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
    for (const item of await ask(names.slice(at, at + NAMES_AT_ONCE))) all.push(item);
  }
  return all;
}

/** The old form of the status, without fractions of seconds. */
function withoutFractions(status: Statns): Stat {
  return {
    dev: status.st_dev,
    ino: status.st_ino,
    mode: status.st_mode,
    nlink: status.st_nlink,
    uid: status.st_uid,
    gid: status.st_gid,
    rdev: status.st_rdev,
    size: status.st_size,
    blksize: status.st_blksize,
    blocks: status.st_blocks,
    atime: status.st_atime_sec,
    mtime: status.st_mtime_sec,
    ctime: status.st_ctime_sec,
  };
}

async function lstatAll({ daemon }: LibraryContext, path: string, names: readonly string[]): Promise<Statns[]> {
  return inBatches(names, async (some) => (await daemon.call(internalLstatnslist, { path, names: some })).statbufs);
}

export const fileStatusActions: Pick<
  FileLibraryActions,
  'stat' | 'lstat' | 'lstatlist' | 'lstatnslist' | 'readlinklist'
> = {
  stat: async ({ daemon }, request) => {
    const { statbuf } = await daemon.call(statns, request);
    return { statbuf: statbuf && withoutFractions(statbuf) };
  },
  lstat: async ({ daemon }, request) => {
    const { statbuf } = await daemon.call(lstatns, request);
    return { statbuf: statbuf && withoutFractions(statbuf) };
  },
  lstatlist: async (context, { path, names }) => ({
    statbufs: (await lstatAll(context, path, names)).map(withoutFractions),
  }),
  lstatnslist: async (context, { path, names }) => ({ statbufs: await lstatAll(context, path, names) }),
  readlinklist: async ({ daemon }, { path, names }) => ({
    links: await inBatches(
      names,
      async (some) => (await daemon.call(internalReadlinklist, { path, names: some })).links,
    ),
  }),
};

export const attributeActions: AttributeLibraryActions = {
  lxattrlist: async ({ daemon }, { path, names }) => ({
    xattrs: await inBatches(
      names,
      async (some) => (await daemon.call(internalLxattrlist, { path, names: some })).xattrs,
    ),
  }),
};
