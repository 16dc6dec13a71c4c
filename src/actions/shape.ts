/** Questions about an action that generator and server both ask. */
import type { ActionDef } from './types.js';

/** Actions whose answer has no bound: each response carries a batch. */
const STREAMED_ANSWERS: ReadonlySet<string> = new Set([
  'ls',
  'find',
  'readdir',
  'filesystem_walk',
  'find_inode',
  'yara_scan',
]);

/** True for an action that is answered in batches. */
export function isStreamedAnswer(action: ActionDef): boolean {
  return STREAMED_ANSWERS.has(action.name);
}

/** Library-side actions that talk to the daemon. */
export const LIBRARY_WITH_DAEMON: ReadonlySet<string> = new Set([
  'available',
  'feature_available',
  'mountable_device',
  'mountable_subvolume',
  'cat',
  'read_file',
  'read_lines',
  'write',
  'write_append',
  'ls',
  'find',
  'readdir',
  'stat',
  'lstat',
  'lstatlist',
  'lstatnslist',
  'lxattrlist',
  'readlinklist',
  'copy_in',
  'copy_out',
  'journal_get',
  'filesystem_walk',
  'find_inode',
  'yara_scan',
  'inspect_get_icon',
  'inspect_get_osinfo',
  'inspect_list_applications',
  'inspect_list_applications2',
]);

/**
 * True for an action that talks to the daemon: it runs in its turn, one at a time, in state
 * READY. The others run aside, whatever the daemon does.
 */
export function needsDaemon(action: ActionDef): boolean {
  return action.impl === 'daemon' || LIBRARY_WITH_DAEMON.has(action.name);
}

/** True for an action to which the client streams a file. */
export function isFileIn(action: ActionDef): boolean {
  return action.args.some((argument) => argument.type === 'string' && argument.kind === 'filein');
}

/** True for an action which streams a file to the client. */
export function isFileOut(action: ActionDef): boolean {
  return action.args.some((argument) => argument.type === 'string' && argument.kind === 'fileout');
}

/**
 * True for an action whose request may be larger than a message of the daemon's, and of most
 * others': the library's side passes its contents on in pieces.
 */
export function takesAnySize(action: ActionDef): boolean {
  return action.impl === 'library' && action.args.some(({ type }) => type === 'buffer');
}

/** True for an action that is an RPC. */
export function hasRpc(action: ActionDef): boolean {
  return action.visibility !== 'internal';
}
