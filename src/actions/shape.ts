/** Questions about an action that generator and server both ask. */
import type { ActionDef } from './types.js';

/** Actions whose answer has no bound: each response carries a batch. */
const STREAMED_ANSWERS: ReadonlySet<string> = new Set(['ls', 'find', 'readdir', 'filesystem_walk', 'find_inode', 'yara_scan']);

/** True for an action that is answered in batches. */
export function isStreamedAnswer(action: ActionDef): boolean {
  return STREAMED_ANSWERS.has(action.name);
}

/** True for an action to which the client streams a file. */
export function isFileIn(action: ActionDef): boolean {
  return action.args.some((argument) => argument.type === 'string' && argument.kind === 'filein');
}

/** True for an action which streams a file to the client. */
export function isFileOut(action: ActionDef): boolean {
  return action.args.some((argument) => argument.type === 'string' && argument.kind === 'fileout');
}

/** True for an action that is an RPC. */
export function hasRpc(action: ActionDef): boolean {
  return action.visibility !== 'internal';
}
