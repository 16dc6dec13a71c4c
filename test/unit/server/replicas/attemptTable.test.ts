/** Which replica had the first attempt at a call, and how much is remembered. */
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { AttemptTable, NOTED_MS } from '../../../../src/server/replicas/attemptTable.js';
import { newRun } from '../../../../src/server/replicas/sessionIds.js';

const [one, two] = [newRun('r1'), newRun('r2')];
const never = (): boolean => false;

afterEach(() => {
  jest.restoreAllMocks();
});

describe('an attempt', () => {
  it('is the first one, until the replica that had it does not count any more', () => {
    const table = new AttemptTable();
    expect(table.note('cn:alice', 'id', one, never)).toBe(one);
    expect(table.note('cn:alice', 'id', two, never)).toBe(one);
    expect(table.note('cn:alice', 'id', two, (noted) => noted.run === one.run)).toBe(two);
    expect(table.note('cn:alice', 'id', one, never)).toBe(two);
  });

  it('belongs to an identity', () => {
    const table = new AttemptTable();
    expect(table.note('cn:alice', 'id', one, never)).toBe(one);
    expect(table.note('cn:bob', 'id', two, never)).toBe(two);
    expect(table.note(undefined, 'id', two, never)).toBe(two);
  });

  it('is forgotten after some time', () => {
    const table = new AttemptTable();
    const now = performance.now();
    const clock = jest.spyOn(performance, 'now').mockReturnValue(now);
    table.note('cn:alice', 'id', one, never);
    clock.mockReturnValue(now + NOTED_MS - 1);
    expect(table.note('cn:alice', 'id', two, never)).toBe(one);
    clock.mockReturnValue(now + NOTED_MS);
    expect(table.note('cn:alice', 'id', two, never)).toBe(two);
    expect(table.size).toBe(1);
  });

  it('of whoever has made the most makes room for others', () => {
    const table = new AttemptTable(100);
    table.note('cn:alice', 'mine', one, never);
    for (let number = 0; number < 1000; number++) table.note('cn:mallory', `${number}`, one, never);
    expect(table.size).toBe(100);
    expect(table.note('cn:alice', 'mine', two, never)).toBe(one);
    expect(table.note('cn:mallory', '999', two, never)).toBe(one);
    expect(table.note('cn:mallory', '0', two, never)).toBe(two);
  });
});
