import { describe, expect, it } from '@jest/globals';
import { ConsoleLog, LOG_LIMIT } from '../../../src/common/consoleLog.js';
import { pattern } from '../../fakes/files.js';
import { memoryInUse } from '../../fakes/memory.js';

describe('ConsoleLog', () => {
  it('keeps the output, in order', () => {
    const log = new ConsoleLog();
    log.append(Buffer.from('one '));
    log.append(Buffer.alloc(0));
    log.append(Buffer.from('two'));
    expect(log.tail().toString()).toBe('one two');
    expect(log.tail(3).toString()).toBe('two');
    expect(log.tail(0)).toHaveLength(0);
    expect(log.droppedBytes).toBe(0);
  });

  it('keeps the last 256 KiB, and counts what it dropped, whatever the size of the pieces', () => {
    const all = pattern(LOG_LIMIT + 100_001);
    for (const size of [1000, 4096, 65_536, 300_000, all.length]) {
      const log = new ConsoleLog();
      for (let start = 0; start < all.length; start += size) log.append(all.subarray(start, start + size));
      expect(log.tail().equals(all.subarray(100_001))).toBe(true);
      expect(log.droppedBytes).toBe(100_001);
      expect(log.tail(10).equals(all.subarray(-10))).toBe(true);
    }
  });

  it('returns what was received since a moment', () => {
    const log = new ConsoleLog();
    log.append(Buffer.from('earlier'));
    const { total } = log;
    expect(log.tailSince(total)).toHaveLength(0);
    log.append(Buffer.from('later'));
    expect(log.tailSince(total).toString()).toBe('later');
    expect(log.tailSince(total, 3).toString()).toBe('ter');
    log.append(Buffer.alloc(2 * LOG_LIMIT, 'x'));
    expect(log.tailSince(total)).toHaveLength(LOG_LIMIT);
  });

  it('does not retain the buffers that it receives', () => {
    const log = new ConsoleLog();
    const reused = Buffer.from('first');
    log.append(reused);
    reused.write('other');
    expect(log.tail().toString()).toBe('first');
  });

  it('takes little more than what it keeps from a console that writes byte by byte', () => {
    const log = new ConsoleLog();
    const before = memoryInUse();
    for (let count = 0; count < 40_000; count += 1) log.append(Buffer.of(count & 0xff));
    expect(log.tail()).toHaveLength(40_000);
    expect(memoryInUse() - before).toBeLessThan(4 * LOG_LIMIT);
  });
});
