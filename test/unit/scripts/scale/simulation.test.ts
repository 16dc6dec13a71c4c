/** The simulation of many nodes: what must hold whatever is simulated, and what theory says. */
import { describe, expect, it, test } from '@jest/globals';
import { calmService, largeNode, simulate, type Options, type Simulation } from './modules.js';

/** Every session that was wanted has ended in one way, or goes on. */
function expectAllAccountedFor({ counts, waiting, sessions, replicas }: Simulation): void {
  const { wanted, completed, givenUp, lost } = counts;
  expect(completed + givenUp + lost.update + lost.failure + waiting + sessions).toBe(wanted);
  for (const replica of replicas) expect(replica.sessions.size).toBeLessThanOrEqual(replica.places);
}

const troubles: Record<string, Partial<Options>> = {
  'a calm service': {},
  'an overloaded one, whose clients give up': { rate: 2, attempts: 2 },
  'bursts that exceed the places': { burst: 60 },
  'failing nodes': { hoursBetweenFailures: 0.1, repair: 30 },
  'a rolling update': {
    update: { atATime: 2, preStop: 10, drainDelay: 5, drainGrace: 10, oneCall: false },
  },
  'a rolling update of calls that may go on, while nodes fail': {
    work: 'inspect',
    policy: 'random-two',
    hoursBetweenFailures: 0.2,
    repair: 10,
    update: { atATime: 3, preStop: 10, drainDelay: 5, drainGrace: 10, oneCall: true },
  },
  'load reports and cold launches': {
    policy: 'orca',
    node: { ...calmService.node, launch: 'cold', pool: 0 },
  },
};

describe.each(Object.entries(troubles))('%s', (_name, trouble) => {
  const options = { ...calmService, ...trouble };
  const simulation = simulate(options);

  it('loses no session unnoticed, and gives no replica more than it has places for', () => {
    expectAllAccountedFor(simulation);
    expect(simulation.counts.launched).toBeGreaterThan(100);
    expect(simulation.latencies).toHaveLength(simulation.counts.launched);
  });

  it('is the same for the same seed, and another for another', () => {
    const again = simulate(options);
    expect(again.counts).toEqual(simulation.counts);
    expect(again.latencies).toEqual(simulation.latencies);
    expect(simulate({ ...options, seed: 2 }).latencies).not.toEqual(simulation.latencies);
  });
});

test('what is lost is lost for a reason', () => {
  expect(simulate(calmService).counts.lost).toEqual({ update: 0, failure: 0 });
  const failing = simulate({ ...calmService, ...troubles['failing nodes'] });
  expect(failing.counts.failures).toBeGreaterThan(0);
  expect(failing.counts.lost).toEqual({ update: 0, failure: expect.any(Number) });
  expect(failing.counts.lost.failure).toBeGreaterThan(0);
});

test('an update that waits for longer loses fewer sessions', () => {
  const lost = [0, 60, 600].map(
    (preStop) =>
      simulate({
        ...calmService,
        seconds: 800,
        update: { atATime: 2, preStop, drainDelay: 5, drainGrace: 10, oneCall: false },
      }).counts.lost.update,
  );
  expect(lost[0]).toBeGreaterThan(lost[1] ?? NaN);
  expect(lost[1]).toBeGreaterThan(lost[2] ?? NaN);
});

test('launches are from the pool, until it is empty', () => {
  const idle = { ...calmService, rate: 0.05 };
  const median = (node: object): number => {
    const { latencies } = simulate({ ...idle, node: { ...calmService.node, ...node } });
    return [...latencies].sort((one, other) => one - other)[latencies.length >> 1] ?? NaN;
  };
  expect(median({ pool: 4 })).toBeCloseTo(0.31);
  expect(median({ pool: 0 })).toBeCloseTo(0.63);
  expect(median({ launch: 'cold' })).toBeCloseTo(4.8);
});

/** Erlang's formula B: the share of arrivals that find all of `servers` busy, if none waits. */
function erlangB(servers: number, load: number): number {
  let blocked = 1;
  for (let count = 1; count <= servers; count++) blocked = (load * blocked) / (count + load * blocked);
  return blocked;
}

test.each([
  { load: 10, servers: 20 },
  { load: 16, servers: 20 },
  { load: 30, servers: 20 },
])('$servers places with a load of $load refuse as many as Erlang says', ({ load, servers }) => {
  // One replica, whose clients do not try again; nothing but the places limits it, and launches take hardly any time.
  const { counts } = simulate({
    ...calmService,
    nodes: 1,
    node: { ...largeNode, maxSessions: servers },
    rate: load / 600,
    sessionSeconds: 600,
    compute: 0,
    attempts: 1,
    warmUp: 6000,
    seconds: 600_000,
    proxies: 1,
  });
  const expected = erlangB(servers, load);
  expect(Math.abs(counts.refused / counts.attempts - expected)).toBeLessThan(0.015 + expected * 0.1);
});
