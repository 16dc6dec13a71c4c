/** Queries about an action that both generator and server need. */
import type { ActionDef } from './types.js';

/** True for an action that is answered in batches. */
export function isStreamedAnswer(action: ActionDef): boolean {
  return action.inBatches === true;
}

/**
 * True for an action that talks to the daemon: it runs in its turn, one at a time, in state
 * READY. The others run out of turn, independently of the daemon.
 */
export function needsDaemon(action: ActionDef): boolean {
  return action.impl === 'daemon' || action.usesDaemon === true;
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
