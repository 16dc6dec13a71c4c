/** Memory of a process, as Linux counts it. */
import { readFile, writeFile } from 'node:fs/promises';

const MEBIBYTE_KB = 1024;
/** What the kernel takes as "forget the peak". */
const FORGET_PEAK = '5';

async function status(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1];
  if (kilobytes === undefined) throw new Error(`no ${field} of process ${pid}`);
  return Number(kilobytes) / MEBIBYTE_KB;
}

/** Resident memory now, MiB; the peak is counted from here. */
export async function startPeak(pid: number): Promise<number> {
  await writeFile(`/proc/${pid}/clear_refs`, FORGET_PEAK);
  return status(pid, 'VmRSS');
}

/** The most that was resident since {@link startPeak}, MiB. */
export function peak(pid: number): Promise<number> {
  return status(pid, 'VmHWM');
}

/** Resident memory now, MiB. */
export function currentSize(pid: number): Promise<number> {
  return status(pid, 'VmRSS');
}
