/** What qemus use, by the state of their sessions. */
import { describe, expect, it } from '@jest/globals';
import { usageIn, usageOf, type ProcessUsage } from '../../../src/common/processUsage.js';
import { MachineUsage } from '../../../src/server/qemuMetrics.js';

const MIB = 1 << 20;

function used(privateMiB: number, sharedMiB: number, cpuSeconds: number): ProcessUsage {
  return { privateBytes: privateMiB * MIB, sharedBytes: sharedMiB * MIB, cpuSeconds };
}

describe('the figures of a process', () => {
  it('are those of /proc', async () => {
    const own = await usageOf(process.pid);
    const { rss } = process.memoryUsage();
    const sum = (own?.privateBytes ?? 0) + (own?.sharedBytes ?? 0);
    expect(Math.abs(sum - rss)).toBeLessThan(rss / 4);
    const { user, system } = process.cpuUsage();
    expect(Math.abs((own?.cpuSeconds ?? 0) - (user + system) / 1e6)).toBeLessThan(1);
  });

  it('are found whatever its name is', () => {
    const stat = `1 (a) R 1 2) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0`;
    const status = 'Name:\ta) R 1 2\nRssAnon:\t     100 kB\nRssFile:\t      20 kB\nRssShmem:\t       4 kB\n';
    expect(usageIn(stat, status)).toEqual({ privateBytes: 102_400, sharedBytes: 24_576, cpuSeconds: 2 });
  });

  it('are missing once it has ended', async () => {
    expect(usageIn('1 (x) Z 1 1 1 0 -1 0 0 0 0 0 1 1', 'Name:\tx\nState:\tZ (zombie)\n')).toBeUndefined();
    expect(await usageOf(2 ** 22 + 1)).toBeUndefined();
  });
});

interface Scene {
  readonly usage: MachineUsage;
  readonly cpu: Map<string, number>;
  readonly running: Map<number, ProcessUsage | undefined>;
  readonly states: Map<number, string>;
  reads: number;
  atOnce: number;
  time: number;
}

function scene(readMs = 0): Scene {
  const cpu = new Map<string, number>();
  const running = new Map<number, ProcessUsage | undefined>();
  const states = new Map<number, string>();
  let reading = 0;
  const made: Scene = {
    ...{ cpu, running, states, reads: 0, atOnce: 0, time: 0 },
    usage: new MachineUsage(
      {
        states: () => states,
        running: () => [...running.keys()],
        usage: async (pid) => {
          made.reads += 1;
          reading += 1;
          made.atOnce = Math.max(made.atOnce, reading);
          await new Promise((resolve) => setImmediate(resolve));
          made.time += readMs;
          reading -= 1;
          return running.get(pid);
        },
        now: () => made.time,
      },
      (state, seconds) => cpu.set(state, (cpu.get(state) ?? 0) + seconds),
    ),
  };
  return made;
}

describe('the figures of all machines', () => {
  it('are sums and maxima by the state of their session', async () => {
    const { usage, running, states, cpu } = scene();
    running
      .set(1, used(100, 10, 5))
      .set(2, used(200, 20, 7))
      .set(3, used(50, 5, 1))
      .set(4, undefined);
    states.set(1, 'READY').set(2, 'READY').set(4, 'STOPPING');
    await usage.refresh();
    expect(Object.fromEntries(usage.sums)).toEqual({
      READY: { machines: 2, privateBytes: 300 * MIB, sharedBytes: 30 * MIB, largest: 220 * MIB },
      STOPPING: { machines: 0, privateBytes: 0, sharedBytes: 0, largest: 0 },
      CLOSED: { machines: 0, privateBytes: 0, sharedBytes: 0, largest: 0 },
      none: { machines: 1, privateBytes: 50 * MIB, sharedBytes: 5 * MIB, largest: 55 * MIB },
    });
    expect(Object.fromEntries(cpu)).toEqual({ READY: 12, none: 1 });
  });

  it('never count processor time twice, nor let it shrink', async () => {
    const one = scene();
    one.running.set(1, used(1, 1, 5));
    await one.usage.refresh();
    one.time += 10_000;
    one.states.set(1, 'READY');
    one.running.set(1, used(1, 1, 8));
    await one.usage.refresh();
    expect(Object.fromEntries(one.cpu)).toEqual({ none: 5, READY: 3 });
    // Another process with the same PID.
    one.time += 10_000;
    one.running.set(1, used(1, 1, 2));
    await one.usage.refresh();
    one.running.clear();
    one.time += 10_000;
    await one.usage.refresh();
    expect(Object.fromEntries(one.cpu)).toEqual({ none: 5, READY: 5 });
  });

  it('of a thousand machines are read a few at a time, and not for every scrape', async () => {
    const many = scene(1);
    for (let pid = 1; pid <= 1000; pid++) many.running.set(pid, used(1, 1, 1));
    await Promise.all([many.usage.refresh(), many.usage.refresh()]);
    expect(many.reads).toBe(1000);
    expect(many.atOnce).toBeLessThanOrEqual(16);
    // Reading took a second, so that the next time is much later.
    many.time += 30_000;
    await many.usage.refresh();
    expect(many.reads).toBe(1000);
    many.time += 30_000;
    await many.usage.refresh();
    expect(many.reads).toBe(2000);
  });
});
