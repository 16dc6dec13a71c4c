/** Processor time of a process, as Linux counts it. */
import { readFile } from 'node:fs/promises';

/** The kernel tells times in hundredths of a second, whatever its own clock does. */
const TICKS_PER_SECOND = 100;
/** Places of `utime` and `stime` after the name, which is in parentheses and may hold anything. */
const USER = 11;
const SYSTEM = 12;

/** What `/proc/PID/stat` says, in seconds. */
export function processorSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[USER]) + Number(fields[SYSTEM])) / TICKS_PER_SECOND;
}

/** Seconds that a process has used until now, with all its threads. */
export async function processorTime(pid: number): Promise<number> {
  return processorSeconds(await readFile(`/proc/${pid}/stat`, 'utf8'));
}
