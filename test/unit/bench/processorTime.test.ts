import { describe, expect, it } from '@jest/globals';
import { processorSeconds, processorTime } from '../../../bench/processorTime.js';

describe('processor time', () => {
  it('is user and system time, whatever the process is called', () => {
    expect(processorSeconds('17 (a (b) 1 2) S 1 17 17 0 -1 4194304 9 0 0 0 150 25 7 8 20 0 11 0 5 6 7')).toBe(1.75);
  });

  it('of this process can be read', async () => {
    expect(await processorTime(process.pid)).toBeGreaterThan(0);
  });
});
