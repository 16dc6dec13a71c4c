/** How long a piece of work blocks the event loop: all other clients of a server wait during that time. */

import { readFileSync } from 'node:fs';

/** Milliseconds of CPU time that `work` takes, which other load on the machine does not increase. */
export function processorTime(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const NANOSECONDS = 1e6;

/** Processor time of this thread, milliseconds; that of other threads does not count. */
function threadTime(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / NANOSECONDS;
}

/** Of the runs of `longestTurn`. */
const RUNS = 3;

/**
 * The longest turn of the event loop while `work` goes on, milliseconds of the processor: the least of some runs, because
 * a collection of garbage that other tests left falls into any of them, and work that blocks the loop does so in each.
 */
export async function longestTurn(work: () => Promise<void>): Promise<number> {
  let least = Infinity;
  for (let run = 0; run < RUNS; run += 1) least = Math.min(least, await longestTurnOnce(work));
  return least;
}

async function longestTurnOnce(work: () => Promise<void>): Promise<number> {
  let longest = 0;
  let before = threadTime();
  const measure = (): void => {
    const now = threadTime();
    longest = Math.max(longest, now - before);
    before = now;
  };
  const timer = setInterval(measure, 1);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  measure();
  return longest;
}
