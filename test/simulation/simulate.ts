/**
 * Simulates a server for one seed, which determines everything that happens: the schedule of clients, the faults, and
 * the order and delays of all events. Afterwards nothing may be left.
 */
import { ImageClaims } from '../../src/images/imageUses.js';
import { messageOf } from '../../src/common/errors.js';
import { abortController } from '../../src/common/waiting.js';
import { installAppliance } from './appliances.js';
import { Client } from './clients.js';
import type { FaultKind } from './faults.js';
import { SimulatedServer } from './server.js';
import { rest } from './time.js';
import { begin, end, type World } from './world.js';

/** Sessions end within this time, whatever has happened: the limits in ending.ts together, and those of launches. */
const SESSIONS_END_MS = 900_000;
/** The launcher ends within this time. */
const LAUNCHER_ENDS_MS = 300_000;
/** Descriptors are closed within this time after the end. */
const REST_MS = 15_000;
/** A simulation with more timers than this goes round in circles. */
const MOST_STEPS = 200_000;

export interface Outcome {
  readonly seed: number;
  /** Equal for simulations in which the same has happened. */
  readonly digest: string;
  /** The invariant that does not hold; undefined: all do. */
  readonly violation: string | undefined;
  readonly trace: readonly string[];
  readonly operations: number;
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** Simulated time, milliseconds. */
  readonly simulatedMs: number;
}

export async function simulate(seed: number): Promise<Outcome> {
  const world = begin(seed);
  const unhandled = (error: unknown): void =>
    world.violate(`unhandled: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.on('unhandledRejection', unhandled);
  process.on('uncaughtException', unhandled);
  try {
    installAppliance(world);
    await run(world, serversOf(world));
    const { trace, violation, operations, faults, time } = world;
    return {
      ...{ seed, digest: trace.digest(), violation, trace: trace.lines, operations },
      ...{ faults: faults.counts, simulatedMs: time.now },
    };
  } finally {
    // What a simulation that was stopped has left must not reach the next one, or real time.
    await rest();
    process.off('unhandledRejection', unhandled);
    process.off('uncaughtException', unhandled);
    end();
  }
}

/** Some servers have a successor, which finds the templates that they have stored. */
async function serversOf(world: World): Promise<void> {
  for (let servers = world.random.once(3) ? 2 : 1; servers > 0 && world.violation === undefined; servers -= 1)
    await serve(world);
}

/** Drives the simulation until `work` has ended, or something is wrong. */
async function run(world: World, work: Promise<void>): Promise<void> {
  let over = false;
  const done = work.then(
    () => (over = true),
    (error: unknown) => {
      over = true;
      world.violate(`the simulation failed: ${error instanceof Error ? String(error.stack) : String(error)}`);
    },
  );
  for (let steps = 0; !over && world.violation === undefined; steps += 1) {
    if (steps > MOST_STEPS) world.violate(`not at rest after ${steps} timers`);
    await rest();
    world.onStep();
    world.time.advance();
  }
  if (over) await done;
}

async function serve(world: World): Promise<void> {
  const { random } = world;
  const server = new SimulatedServer(world);
  world.onStep = () => server.check();
  const clients = Array.from({ length: 1 + random.below(3) }, (_, index) => new Client(world, server, `c${index}`));
  await Promise.all(clients.map((client) => client.work(3 + random.below(12))));
  if (random.once(2)) await world.sleep(world.duration(200_000));
  world.note('the end begins');
  // Some faults come in the end only.
  if (random.once(2)) world.faults.end();
  if (random.once(3)) for (const client of clients) client.disconnect();

  const ended = async (): Promise<void> => {
    if (random.once(2))
      for (const session of server.registry.list(undefined))
        void (random.once(4) ? server.registry.deleteByForce(session) : server.registry.delete(session)).catch(
          (error: unknown) => world.note(`${session.id} ends with ${messageOf(error)}`),
        );
    const grace = abortController();
    const stop = random.once(2)
      ? world.later(world.duration(60_000), () => grace.abort(new Error('time is up')))
      : undefined;
    await server.registry.drain(grace.signal).catch((error: unknown) => world.note(`drained: ${messageOf(error)}`));
    stop?.();
    await Promise.all(clients.map((client) => client.idle()));
  };
  await within(world, SESSIONS_END_MS, ended(), () => [
    ...server.sessions.filter(({ state }) => state !== 'CLOSED').map(({ id, state }) => `${id} in ${state}`),
    ...server.unfinished,
  ]);
  // What still prepares a launch when the launcher is closed ends as well.
  const closed = Promise.all([server.launcher.close(), server.prepared]);
  await within(world, LAUNCHER_ENDS_MS, closed, () => ['the launcher', ...server.unfinished]);
  await within(
    world,
    REST_MS,
    (async () => {
      while (leftOf(world).length > 0) await world.sleep(100);
    })(),
    () => leftOf(world),
  );
  world.onStep = () => undefined;
  for (const watcher of server.watchers) watcher.checkEnd();
  if (server.registry.size > 0) world.violate(`${server.registry.size} sessions are left`);
  if (server.unfinished.length > 0) world.violate(`never ended: ${server.unfinished.join(', ')}`);
  for (const memory of [server.memory, server.largeMemory])
    for (const client of [...clients.map(({ name }) => name), 'another'])
      if (memory.freeFor(client) !== memory.size) world.violate(`memory of requests of ${client} is left`);
}

/** Waits for work that must end in time. */
async function within(
  world: World,
  limitMs: number,
  work: Promise<unknown>,
  left: () => readonly string[],
): Promise<void> {
  const stop = world.later(limitMs, () => {
    world.violate(`no end after ${limitMs / 1000} s: ${left().join(', ')}`);
  });
  await work;
  stop();
}

/** What is left of a server that has ended. */
function leftOf(world: World): string[] {
  const left = [...world.open].map(([what, count]) => `${count} × ${what}`);
  for (const { what, channel } of world.channels) if (!channel.destroyed) left.push(what);
  // One timer belongs to the limit, one perhaps to this check.
  const timers = world.time.timers - world.sleeping;
  if (timers > 0) left.push(`${timers} timers (${world.time.pending.join('; ')})`);
  for (const path of world.images) {
    const claims = new ImageClaims();
    try {
      claims.claim('check', { identity: world.identityOf(path) }, 'format write', path);
    } catch (error) {
      left.push(messageOf(error));
    }
    void claims.releaseAll();
  }
  if ([...world.files.below('/cache')].some((path) => path.includes('unfinished'))) left.push('an unfinished template');
  return left;
}
