/**
 * Determines the version of a daemon in an appliance without a manifest.
 *
 * The protocol has no procedure for this. But a daemon answers an unknown procedure and a known one without arguments
 * with different errors. Probing procedures that were added in known versions narrows the version down.
 */
import { allActions } from '../actions/areas.js';
import { GuestfsError } from '../common/errors.js';
import type { DaemonCall } from '../protocol/daemonCall.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import { DaemonVersion } from '../protocol/daemonVersion.js';
import { isUnknownProcedure } from './daemon.js';

/** The oldest version that is distinguished. */
const OLDEST = new DaemonVersion('1.48.0');

/** Daemon actions added since, newest first. Each has required arguments: one without would run. */
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

/** The newest version whose probed procedures the daemon knows. */
export async function askVersion(connection: DaemonConnection): Promise<DaemonVersion> {
  for (const action of milestones) {
    if (await knows(connection, action.name, action.procedure)) return new DaemonVersion(action.since);
  }
  return OLDEST;
}
