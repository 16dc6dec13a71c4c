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

  it('lets calls end before it ends their session, but not for longer than it may', async () => {
    const closed: string[] = [];
    const busy = (id: string, pendingCalls: number): Session =>
      Object.assign(
        ending(id, async () => void closed.push(id)),
        { pendingCalls },
      );
    const [short, endless] = [busy('short', 1), busy('endless', 1)] as const;
    const { registry } = registryOf([short, endless, busy('idle', 0)]);
    const started = performance.now();
    const drained = registry.drain(undefined, 500);
    expect(closed).toEqual(['idle']);
    Object.assign(short, { pendingCalls: 0 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(closed).toEqual(['idle', 'short']);
    await drained;
    expect(closed).toEqual(['idle', 'short', 'endless']);
    expect(performance.now() - started).toBeGreaterThan(490);
  });

  it('kills what has not ended when the grace is over, and says which sessions that were', async () => {
    let lose: (error: Error) => void = () => undefined;
    const hung: Session = Object.assign(
      ending('hung', () => new Promise((_, reject) => (lose = reject))),
      {
        kill: async () => lose(new GuestfsError('OUTCOME_UNKNOWN', 'unwritten data is lost')),
      },
    );
    const { registry, lines } = registryOf([ending('quick', async () => undefined), hung]);
    const grace = new AbortController();
    const drained = registry.drain(grace.signal);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(registry.size).toBe(1);
    grace.abort(new Error('time is up'));
    await expect(drained).rejects.toThrow('1 of 2 sessions ended with an error');
    expect(registry.size).toBe(0);
    expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', sessions: [{ session: 'hung' }] }));
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        session: 'hung',
        err: expect.objectContaining({ reason: 'OUTCOME_UNKNOWN' }),
      }),
    );
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

describe('a registry for one identity', () => {
  it('serves the first identity that creates a session, and no other, even once the first has no sessions', async () => {
    const lines: string[] = [];
    const registry = new SessionRegistry(
      10,
      createLogger('debug', (line) => lines.push(line)),
      undefined,
      { oneIdentity: true },
    );
    const add = (identity: string, id: string, closed = async (): Promise<void> => undefined): Session =>
      registry.add(id, { identity }, () => Object.assign(ending(id, closed), { owner: identity }));
    const refused = { reason: 'NOT_ISOLATED', message: expect.stringContaining('cannot keep the machines') };
    // An identity whose session could not be created does not become the first.
    expect(() =>
      registry.add('a', { identity: 'uri:c' }, () => {
        throw new Error('no');
      }),
    ).toThrow('no');
    const first = add('uri:a', 'a');
    expect(() => add('uri:b', 'b')).toThrow(expect.objectContaining(refused));
    add('uri:a', 'b');
    await registry.delete(first);
    await registry.delete(registry.get('b', 'uri:a'));
    expect(registry.size).toBe(0);
    expect(() => add('uri:b', 'b')).toThrow(expect.objectContaining(refused));
    expect(add('uri:a', 'c').id).toBe('c');
    expect(lines.filter((line) => line.includes('serves no other identity'))).toHaveLength(1);
  });
});
