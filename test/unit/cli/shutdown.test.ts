import { describe, expect, it } from '@jest/globals';
import { endInOrder, type Part } from '../../../src/cli/shutdown.js';
import { createLogger } from '../../../src/common/logger.js';

describe('endInOrder', () => {
  async function end(failing: readonly string[]): Promise<{ clean: boolean; ended: string[]; lines: unknown[] }> {
    const ended: string[] = [];
    const lines: unknown[] = [];
    const part = (name: string): Part => ({
      name,
      end: async () => {
        await Promise.resolve();
        ended.push(name);
        if (failing.includes(name)) throw new Error(`${name} is stuck`);
      },
    });
    const logger = createLogger('debug', (line) => lines.push(JSON.parse(line)));
    const parts = [part('sessions'), part('metrics'), part('templates')];
    const clean = await endInOrder(parts, { graceMs: 60_000 }, logger);
    return { clean, ended, lines };
  }

  /** Ends in `graceMs` at most, and within `killMs` after that. */
  async function endParts(parts: readonly Part[]): Promise<{ clean: boolean; ms: number; lines: unknown[] }> {
    const lines: unknown[] = [];
    const logger = createLogger('debug', (line) => lines.push(JSON.parse(line)));
    const started = performance.now();
    const clean = await endInOrder(parts, { graceMs: 40, killMs: 60 }, logger);
    return { clean, ms: performance.now() - started, lines };
  }

  it('ends the parts one after another', async () => {
    expect(await end([])).toEqual({ clean: true, ended: ['sessions', 'metrics', 'templates'], lines: [] });
  });

  it('tells the parts when the time for an orderly end is over', async () => {
    const slow: Part = {
      name: 'sessions',
      end: (grace) => new Promise((resolve) => grace.addEventListener('abort', resolve)),
    };
    const { clean, ms, lines } = await endParts([slow]);
    expect({ clean, lines }).toEqual({ clean: true, lines: [] });
    expect(ms).toBeGreaterThanOrEqual(35);
  });

  it('leaves behind what does not even end when it is killed, and goes on with the others', async () => {
    const ended: string[] = [];
    const stuck = (name: string): Part => ({ name, end: () => new Promise(() => undefined) });
    const quick: Part = { name: 'metrics', end: async () => void ended.push('metrics') };
    const { clean, ms, lines } = await endParts([stuck('sessions'), quick, stuck('templates')]);
    expect(clean).toBe(false);
    expect(ended).toEqual(['metrics']);
    expect(ms).toBeLessThan(1000);
    expect(lines).toEqual(
      ['sessions', 'templates'].map((part) =>
        expect.objectContaining({ level: 'error', msg: 'shutdown failed', part }),
      ),
    );
  });

  it('ends those after one that fails, and tells at error what failed', async () => {
    expect(await end(['sessions', 'metrics'])).toEqual({
      clean: false,
      ended: ['sessions', 'metrics', 'templates'],
      lines: ['sessions', 'metrics'].map((name) =>
        expect.objectContaining({
          level: 'error',
          msg: 'shutdown failed',
          part: name,
          err: expect.objectContaining({ message: `${name} is stuck` }),
        }),
      ),
    });
  });
});
