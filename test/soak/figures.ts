/** Figures of a server: what it uses, and how long calls take. */
import { readdirSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import { residentMemory } from '../support/processes.js';
import type { TestServer } from '../support/testServer.js';

/** What a server without sessions uses. */
export interface Usage {
  readonly rssMib: number;
  readonly descriptors: number;
  /** Its descendants. */
  readonly processes: number;
  /** What is in the directory of its run directories. */
  readonly runFiles: number;
}

/** A server may use this much more after a run than before it, and is otherwise said to leak. */
export const TOLERATED: Usage = { rssMib: 96, descriptors: 4, processes: 0, runFiles: 0 };

/** How many files are below a directory, from which others are being removed. */
function filesBelow(directory: string): number {
  let entries: Dirent[] = [];
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return entries.reduce((sum, one) => sum + 1 + (one.isDirectory() ? filesBelow(join(directory, one.name)) : 0), 0);
}

export function usageOf(server: TestServer): Usage {
  const pid = server.process.pid as number;
  return {
    rssMib: Math.round(residentMemory(pid).now / (1 << 20)),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    processes: server.machines().length,
    runFiles: filesBelow(server.temporary),
  };
}

/** What a server uses too much of. */
export function leaks(before: Usage, after: Usage): string[] {
  return (Object.keys(TOLERATED) as (keyof Usage)[])
    .filter((key) => after[key] > before[key] + TOLERATED[key])
    .map((key) => `leak: ${key} went from ${before[key]} to ${after[key]}`);
}

/** Times of calls, milliseconds. */
export class Latencies {
  readonly #times: number[] = [];

  add(ms: number): void {
    this.#times.push(ms);
  }

  /** Their number, median, 95th and 99th percentiles and maximum, for people. */
  toString(): string {
    const sorted = [...this.#times].sort((one, other) => one - other);
    if (sorted.length === 0) return 'no calls';
    const at = (share: number): string => (sorted[Math.ceil(share * sorted.length) - 1] ?? 0).toFixed(0);
    return `${sorted.length} calls, p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
  }
}
