import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { createLogger } from '../../../src/common/logger.js';
import type { Session } from '../../../src/session/session.js';
import { SessionRegistry } from '../../../src/session/sessionRegistry.js';

/** The part of a session that the registry needs to end it. */
function ending(id: string, close: () => Promise<void>): Session {
  return { id, state: 'READY', owner: undefined, expireTime: undefined, close } as unknown as Session;
}

function registryOf(sessions: readonly Session[]): { registry: SessionRegistry; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger('debug', (line) => lines.push(JSON.parse(line) as Record<string, unknown>));
  const registry = new SessionRegistry(10, logger);
  for (const session of sessions) registry.add(session.id, { identity: undefined }, () => session);
  return { registry, lines };
}

describe('a registry that is drained', () => {
  it('ends its sessions, and accepts no more', async () => {
    const closed: string[] = [];
    const one = (id: string): Session => ending(id, async () => void closed.push(id));
    const { registry, lines } = registryOf([one('a'), one('b')]);
    await registry.drain();
    expect(closed).toEqual(['a', 'b']);
    expect(registry.size).toBe(0);
    expect(lines.map(({ msg, session }) => [msg, session])).toEqual([
      ['session ended', 'a'],
      ['session ended', 'b'],
    ]);
    expect(() => registry.add('c', { identity: undefined }, () => one('c'))).toThrow(/shutting down/);
  });

  it('fails when a session could not be synced, once all have ended', async () => {
    const lost = new GuestfsError('EIO', '3 writes to /dev/sdb failed');
    let slow = false;
    const { registry, lines } = registryOf([
      ending('a', () => Promise.reject(lost)),
      ending('b', async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        slow = true;
      }),
    ]);
    const drained = registry.drain();
    await expect(drained).rejects.toThrow('1 of 2 sessions ended with an error');
    await expect(drained).rejects.toMatchObject({ errors: [lost] });
    expect(slow).toBe(true);
    expect(registry.size).toBe(0);
    expect(lines.find(({ session }) => session === 'a')).toMatchObject({
      level: 'error',
      err: { reason: 'EIO', message: '3 writes to /dev/sdb failed' },
    });
  });
});
