/** The last stage: whatever the tests did to servers and appliances, nothing of these is left. */
import { setTimeout as sleep } from 'node:timers/promises';
import { say } from '../support/say.mjs';
import { oneFailed, onePassed } from './tally.mjs';

/** Name prefix of the private directories of the server and of qemu. */
const RUN_DIRECTORY = /^guestfs-grpc/;
/** Grace period for processes that are exiting. */
const GRACE_MS = 5000;

/**
 * Fails if a process of the tests is still running or a run directory is left.
 * @param {import('./sandbox.mjs').Sandbox} sandbox
 */
export async function checkLeftovers(sandbox) {
  const deadline = Date.now() + GRACE_MS;
  while (sandbox.processes().length > 0 && Date.now() < deadline) await sleep(100);
  const processes = sandbox.processes();
  const files = sandbox.files();
  const directories = files.filter((name) => RUN_DIRECTORY.test(name));
  for (const { pid, command } of processes) say(`still running: ${String(pid)} ${command.slice(0, 300)}`);
  for (const name of directories) say(`run directory left: ${name}`);
  const others = files.filter((name) => !RUN_DIRECTORY.test(name));
  if (others.length > 0) say(`other files left by tests (not counted): ${others.slice(0, 10).join(', ')}`);
  return processes.length + directories.length === 0 ? onePassed : oneFailed;
}
