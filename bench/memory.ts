/** Memory of a process, as Linux counts it. */
import { readFile, writeFile } from 'node:fs/promises';

const MEBIBYTE_KB = 1024;
/** Written to clear_refs, this resets the peak. */
const FORGET_PEAK = '5';

async function status(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1];
  if (kilobytes === undefined) throw new Error(`no ${field} of process ${pid}`);
  return Number(kilobytes) / MEBIBYTE_KB;
}

/** Current resident memory, MiB; resets the peak. */
export async function startPeak(pid: number): Promise<number> {
  await writeFile(`/proc/${pid}/clear_refs`, FORGET_PEAK);
  return status(pid, 'VmRSS');
}

/** Peak resident memory since {@link startPeak}, MiB. */
export function peak(pid: number): Promise<number> {
  return status(pid, 'VmHWM');
}

/** Current resident memory, MiB. */
export function currentSize(pid: number): Promise<number> {
  return status(pid, 'VmRSS');
}
