/** Status, attributes and link targets; of many files in batches. */
import { lstatns, statns } from '../../gen/calls/file.js';
import { internalLstatnslist, internalLxattrlist, internalReadlinklist } from '../../gen/calls/internal.js';
import type { AttributeLibraryActions, FileLibraryActions } from '../../gen/libraryActions.js';
import { LxattrlistResponse } from '../../gen/proto/guestfs/v1/attribute.js';
import { LstatlistResponse, LstatnslistResponse, ReadlinklistResponse } from '../../gen/proto/guestfs/v1/file.js';
import type { Stat, Statns } from '../../gen/proto/guestfs/v1/structs.js';
import { limited } from './answerLimit.js';
import type { LibraryContext } from './context.js';

/** Names in one request to the daemon; the library's number. */
const NAMES_AT_ONCE = 1000;
const FEWER_NAMES = 'ask for fewer names at a time';

/** Asks for many names, some at a time. */
async function inBatches<Item>(names: readonly string[], ask: (some: string[]) => Promise<readonly Item[]>): Promise<Item[]> {
  const all: Item[] = [];
  for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
    for (const item of await ask(names.slice(at, at + NAMES_AT_ONCE))) all.push(item);
  }
  return all;
}

/** The status as it was before it had fractions of seconds. */
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

export const fileStatusActions: Pick<FileLibraryActions, 'stat' | 'lstat' | 'lstatlist' | 'lstatnslist' | 'readlinklist'> = {
  stat: async ({ daemon }, request) => {
    const { statbuf } = await daemon.call(statns, request);
    return { statbuf: statbuf && withoutFractions(statbuf) };
  },
  lstat: async ({ daemon }, request) => {
    const { statbuf } = await daemon.call(lstatns, request);
    return { statbuf: statbuf && withoutFractions(statbuf) };
  },
  lstatlist: async (context, { path, names }) => {
    const statbufs = (await lstatAll(context, path, names)).map(withoutFractions);
    return limited({ statbufs }, LstatlistResponse, context.action.name, FEWER_NAMES);
  },
  lstatnslist: async (context, { path, names }) => {
    return limited({ statbufs: await lstatAll(context, path, names) }, LstatnslistResponse, context.action.name, FEWER_NAMES);
  },
  readlinklist: async ({ action, daemon }, { path, names }) => {
    const links = await inBatches(names, async (some) => (await daemon.call(internalReadlinklist, { path, names: some })).links);
    return limited({ links }, ReadlinklistResponse, action.name, FEWER_NAMES);
  },
};

export const attributeActions: AttributeLibraryActions = {
  lxattrlist: async ({ action, daemon }, { path, names }) => {
    const xattrs = await inBatches(names, async (some) => (await daemon.call(internalLxattrlist, { path, names: some })).xattrs);
    return limited({ xattrs }, LxattrlistResponse, action.name, FEWER_NAMES);
  },
};
