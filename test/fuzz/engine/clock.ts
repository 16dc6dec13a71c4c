/** Time that this thread has spent on a processor: what others do on the same machine does not count. */
import { readFileSync } from 'node:fs';

/** Linux keeps it by thread: nanoseconds on the processor, nanoseconds of waiting for it, and time slices. */
const STATISTICS = '/proc/thread-self/schedstat';

/** Milliseconds: exact, but ten times as slow to read as the other clock. */
export function threadTime(): number {
  return Number(readFileSync(STATISTICS, 'latin1').split(' ', 1)[0]) / 1e6;
}

let exact = false;

/** While inputs that seem slow are run again, the exact time is worth its price. */
export function useProcessorTime(use: boolean): void {
  exact = use;
}

/** Whether times are exact. */
export function isExact(): boolean {
  return exact;
}

/** Milliseconds since some moment. */
export function now(): number {
  return exact ? threadTime() : performance.now();
}
