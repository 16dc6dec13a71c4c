/** Runs scripts in the appliance's own shell, outside the guest, through the daemon's `debug` procedure, which every version has. */
import { debug } from '../../gen/calls/debug.js';
import type { Daemon } from '../session/daemon.js';

/**
 * Runs a script of POSIX sh and waits for its end.
 * @returns everything that it prints on either stream, without trailing newlines; must fit in a protocol message, 4 MiB
 * @throws GuestfsError with what it printed, when it does not exit with 0
 */
export async function runInAppliance(daemon: Daemon, script: string): Promise<string> {
  return (await daemon.call(debug, { subcmd: 'sh', extraargs: [script] })).result;
}

/**
 * A guest file's name in the appliance, quoted as a word of a script.
 * @param path as returned by the daemon's `realpath`: the shell is not confined to the guest, and a link in the path
 *   would lead to the appliance's own files
 */
export function guestFileWord(path: string): string {
  return `"$root"'${path.replaceAll("'", "'\\''")}'`;
}
