/** What a mesh costs as it grows. */
import { expect, it, test } from '@jest/globals';
import { controlPlane, limitsInOrder } from './modules.js';

const shapeOf = (replicas: number): object => ({
  replicas,
  proxies: Math.max(2, Math.ceil(replicas / 50)),
  sessions: 35,
});

test('loads of a hundred replicas', () => {
  expect(controlPlane(shapeOf(100))).toMatchObject({
    connections: 99 + 2 * 2,
    asked: 9.9 + 2,
    dnsBytes: 78 + 100 * 16,
    dnsPerSecond: 10,
    // Four pages of 1000 sessions, each of which asks all others who they are and for their sessions.
    listCalls: 4 * 2 * 99,
  });
});

test('one replica has no peers', () => {
  expect(controlPlane({ replicas: 1, proxies: 2, sessions: 35 })).toMatchObject({
    connections: 4,
    listCalls: 0,
    round: 0,
  });
});

it('orders the limits by the size at which they are reached', () => {
  const found = limitsInOrder(shapeOf, 53);
  expect(found.map(({ replicas }) => replicas)).toEqual(
    [...found.map(({ replicas }) => replicas)].sort((one, other) => one - other),
  );
  expect(found[0]?.name).toContain('--max-connections');
  const replicas = found[0]?.replicas ?? NaN;
  expect(controlPlane(shapeOf(replicas)).connections).toBeGreaterThan(1024);
  expect(controlPlane(shapeOf(replicas - 1)).connections).toBeLessThanOrEqual(1024);
});
