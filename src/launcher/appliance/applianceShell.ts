/** Runs scripts in an appliance through the daemon's `debug` procedure, which every version has. */
import { debug } from '../../../gen/calls/debug.js';
import { unlessAborted } from '../../common/waiting.js';
import type { DaemonConnection } from '../../protocol/daemonConnection.js';
import { DaemonVersion } from '../../protocol/daemonVersion.js';

/** The procedure's arguments are the same in all versions. */
const ANY_VERSION = new DaemonVersion('1.48.0');

/**
 * Runs a script and waits for its end.
 * @throws GuestfsError with the script's output, if it fails; or the reason of `signal`, which does not end the script,
 *   so the connection cannot be used any more
 */
export async function runInAppliance(
  connection: DaemonConnection,
  script: string,
  signal?: AbortSignal,
): Promise<string> {
  const answer = connection.call(debug, { subcmd: 'sh', extraargs: [script] }, ANY_VERSION);
  return (await (signal === undefined ? answer : unlessAborted(answer, signal))).result;
}
