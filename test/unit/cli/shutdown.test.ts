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
    const clean = await endInOrder([part('sessions'), part('metrics'), part('templates')], logger);
    return { clean, ended, lines };
  }

  it('ends the parts one after another', async () => {
    expect(await end([])).toEqual({ clean: true, ended: ['sessions', 'metrics', 'templates'], lines: [] });
  });

  it('ends those after a failing one, and logs the failure at level error', async () => {
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
