/** The figures of the soak test. */
import { describe, expect, it } from '@jest/globals';
import { Latencies, leaks, TOLERATED, type Usage } from './figures.js';

const BEFORE: Usage = { rssMib: 100, descriptors: 30, processes: 1, runFiles: 4 };

describe('figures of a soak', () => {
  it('tolerate a little more memory and descriptors, but no process and no file', () => {
    const more = (key: keyof Usage, by: number): Usage => ({ ...BEFORE, [key]: BEFORE[key] + by });
    for (const key of Object.keys(TOLERATED) as (keyof Usage)[]) {
      expect(leaks(BEFORE, more(key, TOLERATED[key]))).toEqual([]);
      expect(leaks(BEFORE, more(key, TOLERATED[key] + 1))).toEqual([expect.stringContaining(`leak: ${key} went from`)]);
    }
  });

  it('have percentiles', () => {
    const latencies = new Latencies();
    expect(String(latencies)).toBe('no calls');
    for (let ms = 100; ms >= 1; ms -= 1) latencies.add(ms);
    expect(String(latencies)).toBe('100 calls, p50 50 ms, p95 95 ms, p99 99 ms, max 100 ms');
  });
});
