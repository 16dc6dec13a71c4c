/** Processor time of this thread: other work on the same machine does not count. */
import { readFileSync } from 'node:fs';

/** Linux keeps it for each thread: nanoseconds on the processor, nanoseconds of waiting for it, and time slices. */
const STATISTICS = '/proc/thread-self/schedstat';

/** Milliseconds; exact, but ten times as slow to read as `performance.now()`. */
export function threadTime(): number {
  return Number(readFileSync(STATISTICS, 'latin1').split(' ', 1)[0]) / 1e6;
}

let exact = false;

/** Selects the exact clock, whose cost is worth it when inputs that seem slow are run again. */
export function useProcessorTime(use: boolean): void {
  exact = use;
}

/** Whether times are exact. */
export function isExact(): boolean {
  return exact;
}

/** Milliseconds since an arbitrary moment. */
export function now(): number {
  return exact ? threadTime() : performance.now();
}
