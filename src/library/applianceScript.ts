/** Scripts that the appliance's own shell runs, outside of the guest, by the daemon's `debug` procedure, which every version has. */
import { debug } from '../../gen/calls/debug.js';
import type { Daemon } from '../session/daemon.js';

/**
 * Runs a script of POSIX sh and waits for its end.
 * @returns all that it prints, on either stream, without newlines at the end; it has to be less than a message of the
 *   protocol, 4 MiB
 * @throws GuestfsError with what it printed, when it does not exit with 0
 */
export async function runInAppliance(daemon: Daemon, script: string): Promise<string> {
  return (await daemon.call(debug, { subcmd: 'sh', extraargs: [script] })).result;
}

/**
 * A word of a script that is the name of a guest's file in the appliance.
 * @param path what the daemon's `realpath` says: the shell is not confined to the guest, and a link in the path
 *   would lead to the appliance's own files
 */
export function guestFileWord(path: string): string {
  return `"$root"'${path.replaceAll("'", "'\\''")}'`;
}
