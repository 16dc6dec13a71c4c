/** What a mesh costs as it grows. */
import { expect, it, test } from '@jest/globals';
import { controlPlane, limitsInOrder } from './modules.js';

const shapeOf = (replicas: number): object => ({
  replicas,
  proxies: Math.max(2, Math.ceil(replicas / 50)),
  sessions: 35,
  rate: 0.5,
});

test('loads of a hundred replicas', () => {
  expect(controlPlane(shapeOf(100))).toMatchObject({
    connections: 99 + 2 * 2,
    limitedConnections: 2 * 2,
    // Who they are, request IDs of new sessions, and health.
    asked: expect.closeTo(9.9 + 0.5 * 2 * 0.99 + 2),
    dnsBytes: 78 + 100 * 16,
    dnsPerSecond: 10,
    // Four pages of 1000 sessions, for each of which all others are asked.
    listCalls: 4 * 99,
  });
});

test('one replica has no peers', () => {
  expect(controlPlane({ replicas: 1, proxies: 2, sessions: 35, rate: 0.5 })).toMatchObject({
    connections: 4,
    asked: 2,
    listCalls: 0,
    round: 0,
  });
});

test('a replica that is lost costs the others next to nothing', () => {
  const { loop = NaN, loopInStorm = NaN } = controlPlane(shapeOf(1000));
  expect(loopInStorm - loop).toBeLessThan(0.001);
});

it('orders the limits by the size at which they are reached', () => {
  const found = limitsInOrder(shapeOf, 53);
  expect(found.map(({ replicas }) => replicas)).toEqual(
    [...found.map(({ replicas }) => replicas)].sort((one, other) => one - other),
  );
  const replicas = found.find(({ name }) => name.includes('--max-connections'))?.replicas ?? NaN;
  expect(controlPlane(shapeOf(replicas)).limitedConnections).toBeGreaterThan(1024);
  expect(controlPlane(shapeOf(replicas - 1)).limitedConnections).toBeLessThanOrEqual(1024);
});
