/** CPU time of a process, according to Linux. */
import { readFile } from 'node:fs/promises';

/** The kernel reports times in hundredths of a second, whatever its clock rate. */
const TICKS_PER_SECOND = 100;
/** Places of `utime` and `stime` after the name, which is in parentheses and may hold anything. */
const USER = 11;
const SYSTEM = 12;

/** CPU time in `/proc/PID/stat`, in seconds. */
export function processorSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[USER]) + Number(fields[SYSTEM])) / TICKS_PER_SECOND;
}

/** CPU time that a process has used so far in all threads, seconds. */
export async function processorTime(pid: number): Promise<number> {
  return processorSeconds(await readFile(`/proc/${pid}/stat`, 'utf8'));
}
