/** Finds and ends processes by the user that they run as. */
import { readdir, readFile } from 'node:fs/promises';
import { sleep } from './waiting.js';

const POLL_MS = 10;

/**
 * The processes of some users, by user. Any user ID of a process counts: real, effective, saved or file system. Zombies
 * do not count.
 */
export async function processesOfUsers(
  wanted: (uid: number) => boolean,
): Promise<ReadonlyMap<number, readonly number[]>> {
  const found = new Map<number, number[]>();
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
      if (/^State:\t[ZX]/m.test(status)) return;
      const uids = (/^Uid:\t(.*)$/m.exec(status)?.[1] ?? '').split(/\s+/).filter(Boolean).map(Number);
      for (const uid of new Set(uids)) if (wanted(uid)) found.set(uid, [...(found.get(uid) ?? []), Number(pid)]);
    }),
  );
  return found;
}

/**
 * Kills all processes of a user, including those that they start in the meantime.
 * @returns whether none is left within the time limit
 */
export async function endProcessesOfUser(uid: number, limitMs: number): Promise<boolean> {
  const limit = performance.now() + limitMs;
  for (;;) {
    const pids = (await processesOfUsers((one) => one === uid)).get(uid) ?? [];
    if (pids.length === 0) return true;
    if (performance.now() > limit) return false;
    for (const pid of pids) kill(pid);
    await sleep(POLL_MS);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
