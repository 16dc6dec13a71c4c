import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { beating } from '../../../src/server/heartbeat.js';

const INTERVAL_MS = 20_000;

describe('a beating writer', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  const scene = (write: (message: object) => Promise<void> = () => Promise.resolve()) => {
    const written: object[] = [];
    const writer = beating({ write: (message) => (written.push(message), write(message)) }, (): object => ({
      beat: true,
    }));
    return { written, writer };
  };

  it('writes a heartbeat only when nothing else was written for a while', async () => {
    const { written, writer } = scene();
    jest.advanceTimersByTime(INTERVAL_MS - 1);
    await writer.write({ part: 1 });
    jest.advanceTimersByTime(INTERVAL_MS - 1);
    expect(written).toEqual([{ part: 1 }]);
    jest.advanceTimersByTime(1);
    jest.advanceTimersByTime(INTERVAL_MS);
    expect(written).toEqual([{ part: 1 }, { beat: true }, { beat: true }]);
    writer.stop();
  });

  it('writes none after it was stopped', () => {
    const { written, writer } = scene();
    writer.stop();
    jest.advanceTimersByTime(10 * INTERVAL_MS);
    expect(written).toEqual([]);
  });

  it('ignores that the client has disconnected', async () => {
    const { writer } = scene(() => Promise.reject(new Error('gone')));
    jest.advanceTimersByTime(INTERVAL_MS);
    await expect(writer.write({})).rejects.toThrow('gone');
    writer.stop();
  });
});
