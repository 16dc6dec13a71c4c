/** From flags to simulations and loads. */
import { controlPlane } from './controlPlane.mjs';
import { VALUES } from './figures.mjs';
import { placesOf } from './replica.mjs';
import { simulate } from './simulation.mjs';

/** @typedef {import('./commandLine.mjs').Flags} Flags */

const GIB = 1024;
/** A server that has no time left is as good as ended; a little keeps the simulation finite. */
const LEAST_SHARE = 0.02;

/**
 * @param {Flags} flags
 * @returns {import('./replica.mjs').NodeOptions}
 */
export function nodeOf({ cores, memory, memsize, maxSessions, pool, launch }) {
  return { cores, memory: memory * GIB, memsize, maxSessions, pool, launch };
}

/**
 * New sessions per second and node.
 * @param {Flags} flags
 */
export function rateOf(flags) {
  return flags.rate ?? (flags.load * placesOf(nodeOf(flags))) / flags.sessionSeconds;
}

/**
 * @param {Flags} flags
 * @param {number} nodes
 */
export function proxiesOf({ nodesPerProxy }, nodes) {
  return Math.max(2, Math.ceil(nodes / nodesPerProxy));
}

/**
 * The mesh that a replica of so many is in.
 * @param {Flags} flags
 * @param {number} nodes
 * @returns {import('./controlPlane.mjs').Shape}
 */
export function shapeOf(flags, nodes) {
  const replicas = flags.cell === 0 ? nodes : Math.min(flags.cell, nodes);
  const sessions = Math.min(placesOf(nodeOf(flags)), rateOf(flags) * flags.sessionSeconds);
  return { replicas, proxies: proxiesOf(flags, replicas), sessions, rate: rateOf(flags) };
}

/**
 * Seconds that the update of a replica takes, if its sessions do not end earlier.
 * @param {Flags} flags
 */
export function updateSeconds({ preStop, drainDelay }) {
  return preStop + drainDelay + VALUES.start;
}

/** At least so many seconds are counted. */
const LEAST_SECONDS = 60;

/**
 * The seconds that are counted of so many nodes.
 * @param {Flags} flags
 * @param {number} nodes
 */
function secondsOf(flags, nodes) {
  const { seconds, mostSessions } = flags;
  return Math.min(seconds, Math.max(LEAST_SECONDS, Math.round(mostSessions / (rateOf(flags) * nodes))));
}

/**
 * Simulates the mesh of a replica of so many. Cells do not know each other, so the others are like it.
 * @param {Flags} flags
 * @param {number} all nodes
 */
export function run(flags, all) {
  const shape = shapeOf(flags, all);
  const { loop } = controlPlane(shape);
  const nodes = shape.replicas;
  const { hoursBetweenFailures: hours } = flags;
  const seconds = secondsOf(flags, nodes);
  return simulate({
    nodes,
    node: nodeOf(flags),
    rate: rateOf(flags),
    sessionSeconds: flags.sessionSeconds,
    compute: flags.compute,
    work: flags.work,
    burst: flags.burst,
    warmUp: Math.min(flags.warmUp, seconds / 3),
    seconds,
    seed: flags.seed,
    policy: flags.placing,
    proxies: proxiesOf(flags, nodes),
    reportInterval: flags.reportSeconds,
    attempts: flags.attempts,
    hoursBetweenFailures: hours === 0 ? Infinity : hours,
    repair: flags.repairSeconds,
    update: flags.update
      ? {
          atATime: Math.max(1, Math.floor(nodes * flags.updateShare)),
          preStop: flags.preStop,
          drainDelay: flags.drainDelay,
          drainGrace: flags.drainGrace,
          oneCall: flags.work === 'inspect',
        }
      : undefined,
    loopShare: Math.max(LEAST_SHARE, 1 - loop),
  });
}
