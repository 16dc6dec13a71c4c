/**
 * Finds out which version a daemon is that nobody told us of: an appliance without a manifest.
 *
 * There is no procedure for that. But a daemon says of a procedure that it does not know that
 * it does not, and of a known one with no arguments at all that these cannot be decoded; so a
 * few procedures, each of which came with a certain version, tell between which two it is.
 */
import { allActions } from '../actions/areas.js';
import { GuestfsError } from '../common/errors.js';
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import { DaemonVersion } from '../protocol/daemonVersion.js';
import { isUnknownProcedure } from './daemon.js';

/** Older daemons are not told apart. */
const OLDEST = new DaemonVersion('1.48.0');

/** Daemon actions that came after the oldest version, the newest first; without required arguments one would run. */
const milestones = allActions
  .filter(
    (action) =>
      action.impl === 'daemon' &&
      !new DaemonVersion(action.since).upTo('1.48') &&
      action.args.some((argument) => 'kind' in argument && argument.kind !== 'fileout'),
  )
  .sort((one, other) => (new DaemonVersion(one.since).atLeast(other.since) ? -1 : 1));

function emptyCall(action: string, procedure: number): DaemonCall<object, unknown> {
  return { action, procedure, encode: () => 0n, decode: () => ({}) };
}

async function knows(connection: DaemonConnection, action: string, procedure: number): Promise<boolean> {
  try {
    await connection.call(emptyCall(action, procedure), {}, OLDEST);
    return true;
  } catch (error) {
    if (error instanceof GuestfsError && connection.failure === undefined) return !isUnknownProcedure(error);
    throw error;
  }
}

/** The newest version that the daemon has everything of, as far as can be asked. */
export async function askVersion(connection: DaemonConnection): Promise<DaemonVersion> {
  for (const action of milestones) {
    if (await knows(connection, action.name, action.procedure)) return new DaemonVersion(action.since);
  }
  return OLDEST;
}
