/** What a process uses, as the kernel counts it. */
import { readFile } from 'node:fs/promises';

export interface ProcessUsage {
  /** Memory that it shares with nobody, bytes. */
  readonly privateBytes: number;
  /** Files and shared memory in its memory, bytes; other processes can have the same in theirs. */
  readonly sharedBytes: number;
  /** Processor time since its start, seconds. */
  readonly cpuSeconds: number;
}

/** The kernel reports times in this unit on every architecture that the server runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;
/** Of user and system time, after the name of the command, in /proc/PID/stat. */
const [UTIME, STIME] = [11, 12];

/** What a process uses; undefined if it has ended. */
export async function usageOf(pid: number): Promise<ProcessUsage | undefined> {
  try {
    const [stat, status] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'latin1'),
      readFile(`/proc/${pid}/status`, 'latin1'),
    ]);
    return usageIn(stat, status);
  } catch {
    return undefined;
  }
}

/** What the texts of /proc say; undefined for a process that has ended, but has not been waited for. */
export function usageIn(stat: string, status: string): ProcessUsage | undefined {
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN);
  // The second field, the command name, is in parentheses and may contain any character.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const usage = {
    privateBytes: kibibytes('RssAnon') * 1024,
    sharedBytes: (kibibytes('RssFile') + kibibytes('RssShmem')) * 1024,
    cpuSeconds: (Number(fields[UTIME]) + Number(fields[STIME])) / TICKS_PER_SECOND,
  };
  return Object.values(usage).every(Number.isFinite) ? usage : undefined;
}
