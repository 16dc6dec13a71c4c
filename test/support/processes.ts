/** Processes of this host, according to /proc. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

export interface FoundProcess {
  readonly pid: number;
  /** Name of the program. */
  readonly name: string;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // exited, or a kernel thread
  }
}

/** Whether a process is a zombie. */
function isZombie(pid: number): boolean {
  return /\) [ZX] /.test(read(`/proc/${pid}/stat`));
}

/** Processes with `text` in their arguments or in their environment, which children inherit. */
export function processesThatMention(text: string): FoundProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter(
      (pid) =>
        pid !== process.pid &&
        [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`].some((path) => read(path).includes(text)),
    )
    .filter((pid) => !isZombie(pid))
    .map((pid) => ({ pid, name: read(`/proc/${pid}/comm`).trim() }));
}

/** What creates jails, waits for their content, and guards them until they are complete. */
const JAILERS = ['bash', 'prlimit', 'bwrap'];

/** Excludes processes that create a jail: whoever kills its guard as well as the server wants the jail to survive. */
export function isInJail({ name }: FoundProcess): boolean {
  return !JAILERS.includes(name);
}

/** Resolves when a process has exited. */
export async function ended(pid: number): Promise<void> {
  while (read(`/proc/${pid}/stat`) !== '' && !isZombie(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Memory of a process, bytes: the current amount, and the peak since {@link resetPeakMemory}. */
export function residentMemory(pid: number): { readonly now: number; readonly peak: number } {
  const status = read(`/proc/${pid}/status`);
  const kibibytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  return { now: kibibytes('VmRSS') * 1024, peak: kibibytes('VmHWM') * 1024 };
}

/** Resets the peak. */
export function resetPeakMemory(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
