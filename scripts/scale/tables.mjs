/** The tables of docs/scale.md, as Markdown. */
import { controlPlane, limitsInOrder } from './controlPlane.mjs';
import { VALUES } from './figures.mjs';
import { placesOf } from './replica.mjs';
import { nodeOf, proxiesOf, rateOf, run, shapeOf, updateSeconds } from './scenario.mjs';

export const TABLES = /** @type {const} */ (['sizes', 'mesh', 'limits', 'placing', 'pools', 'updates']);

/** @typedef {(typeof TABLES)[number]} TableName */
/** @typedef {import('./commandLine.mjs').Flags} Flags */
/** @typedef {import('./simulation.mjs').Simulation} Simulation */

/** Nodes of the tables that compare settings. */
const COMPARED = 100;

/**
 * A share of all, or a count over a time.
 * @param {number} part
 * @param {number} all
 */
function share(part, all) {
  if (part === 0 || all === 0) return '0';
  const percent = (100 * part) / all;
  return percent < 0.01 ? '< 0.01 %' : `${percent.toFixed(percent < 1 ? 2 : 1)} %`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 0.095) return `${Math.round(seconds * 1000).toString()} ms`;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
  const minutes = seconds / 60;
  if (minutes < 100) return `${minutes.toFixed(0)} min`;
  return minutes < 100 * 60 ? `${(minutes / 60).toFixed(0)} h` : `${(minutes / 60 / 24).toFixed(0)} days`;
}

/**
 * A whole number.
 * @param {number} value
 */
function count(value) {
  return Math.round(value).toLocaleString('en-US');
}

/** @param {number} value */
function number(value) {
  return value < 10 ? value.toFixed(1) : count(value);
}

/**
 * @param {readonly number[]} values
 * @param {number} part
 */
export function percentile(values, part) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
function markdown(head, rows) {
  const lines = [head, head.map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** @param {Simulation} simulation */
function latency({ latencies }) {
  return [duration(percentile(latencies, 0.5)), duration(percentile(latencies, 0.99))];
}

/**
 * What breaks first, of a node and of a mesh; or what is closest to it.
 * @param {Flags} flags
 * @param {number} nodes
 */
function first(flags, nodes) {
  const { replicas } = shapeOf(flags, nodes);
  const [mesh] = limitsInOrder((count) => shapeOf({ ...flags, cell: 0 }, count), updateSeconds(flags));
  if (mesh !== undefined && replicas >= mesh.replicas) return mesh.name;
  const [closest] = nodeLimits(flags);
  return `none; ${closest.name} used to ${Math.round(100 * closest.used).toString()} %`;
}

/**
 * How much of a node is used, the most used first.
 * @param {Flags} flags
 */
export function nodeLimits(flags) {
  const node = nodeOf(flags);
  const rate = rateOf(flags);
  const launch =
    flags.launch === 'cold'
      ? VALUES.coldLaunch
      : flags.pool > 0
        ? VALUES.poolLaunch + VALUES.poolRefill
        : VALUES.templateLaunch;
  const all = [
    { name: 'places', used: (rate * flags.sessionSeconds) / placesOf(node) },
    { name: 'processors', used: (rate * (flags.compute + launch)) / node.cores },
    { name: 'event loop', used: rate * VALUES.serverTimeOfSession },
  ];
  all.sort((one, other) => other.used - one.used);
  return /** @type {[(typeof all)[number], ...typeof all]} */ (all);
}

/**
 * What is measured of a simulation.
 * @param {Flags} flags
 * @param {Simulation} simulation
 */
function outcome(flags, simulation) {
  const { counts, replicas, seconds } = simulation;
  const used = replicas.reduce((sum, { processors }) => sum + processors.used, 0);
  return {
    rate: counts.launched / seconds,
    latency: latency(simulation),
    refused: share(counts.refused, counts.attempts),
    givenUp: share(counts.givenUp, counts.wanted),
    lostInUpdate: share(counts.lost.update, counts.hadAtUpdate),
    processors: share(used, replicas.length * flags.cores * seconds),
  };
}

/** @param {Flags} flags */
function sizes(flags) {
  const rows = flags.nodes.map((nodes) => {
    const simulation = run(flags, nodes);
    const { replicas } = shapeOf(flags, nodes);
    const found = outcome(flags, simulation);
    const { refused, givenUp, lostInUpdate, processors } = found;
    const rate = number(found.rate * (nodes / replicas));
    return [count(nodes), rate, ...found.latency, refused, givenUp, lostInUpdate, processors];
  });
  const head = ['nodes', 'sessions/s', 'launch p50', 'p99', 'attempts refused', 'clients that give up'];
  return markdown([...head, 'lost in an update', 'processors used'], rows);
}

/** @param {Flags} flags */
function mesh(flags) {
  const rows = flags.nodes.map((nodes) => {
    const shape = shapeOf(flags, nodes);
    const loads = controlPlane(shape);
    return [
      count(nodes),
      count(loads.connections),
      number(loads.asked),
      share(loads.loop, 1),
      share(loads.loopInStorm, 1),
      `${count(loads.dnsBytes)} bytes`,
      number(loads.dnsPerSecond),
      number(loads.checksPerSecond),
      count(loads.listCalls),
      duration(shape.replicas * updateSeconds(flags)),
      first(flags, nodes),
    ];
  });
  const head = ['nodes', 'connections', 'calls/s', 'event loop', 'while one is lost', 'DNS answer', 'DNS queries/s'];
  return markdown([...head, 'health checks/s', 'calls for a list', 'update', 'breaks first'], rows);
}

/** @param {Flags} flags */
function limits(flags) {
  const found = limitsInOrder((replicas) => shapeOf({ ...flags, cell: 0 }, replicas), updateSeconds(flags));
  return markdown(
    ['limit', 'reached at', 'then'],
    found.map(({ name, replicas, effect }) => [name, `${count(replicas)} replicas`, effect]),
  );
}

/** @param {Flags} flags */
function placing(flags) {
  const rows = /** @type {const} */ ([0.7, 0.9]).flatMap((load) =>
    /** @type {const} */ (['session', 'inspect']).flatMap((work) =>
      /** @type {const} */ (['round-robin', 'random-two', 'orca']).map((policy) => {
        const variant = { ...flags, load, work, placing: policy, update: false };
        const { latency: times, refused, givenUp } = outcome(variant, run(variant, COMPARED));
        return [share(load, 1), work, policy, ...times, refused, givenUp];
      }),
    ),
  );
  return markdown(['places taken', 'work', 'policy', 'launch p50', 'p99', 'attempts refused', 'give up'], rows);
}

/** @param {Flags} flags */
function pools(flags) {
  const rows = [0, 2, 4, 8].flatMap((pool) =>
    [0, 5].map((burst) => {
      const variant = { ...flags, pool, burst, update: false };
      const { latency: times, refused, processors } = outcome(variant, run(variant, COMPARED));
      const memory = `${count(pool * VALUES.cloneMemory)} MiB`;
      return [pool.toString(), memory, burst === 0 ? 'none' : burst.toString(), ...times, refused, processors];
    }),
  );
  return markdown(['pool', 'memory', 'burst', 'launch p50', 'p99', 'attempts refused', 'processors used'], rows);
}

/** @param {Flags} flags */
function updates(flags) {
  const rows = [
    { preStop: 0, work: /** @type {const} */ ('session') },
    { preStop: 30, work: /** @type {const} */ ('session') },
    { preStop: 30, work: /** @type {const} */ ('inspect') },
    { preStop: 120, work: /** @type {const} */ ('session') },
    { preStop: 300, work: /** @type {const} */ ('session') },
  ].map(({ preStop, work }) => {
    const variant = {
      ...flags,
      preStop,
      work,
      seconds: Math.max(flags.seconds, 4 * (preStop + 60)),
      updateShare: 0.05,
    };
    const simulation = run(variant, COMPARED);
    const { counts } = simulation;
    return [
      `${preStop.toString()} s`,
      work,
      share(counts.lost.update, counts.hadAtUpdate),
      duration(counts.updateSeconds / counts.updated),
      duration((COMPARED * counts.updateSeconds) / counts.updated),
    ];
  });
  return markdown(['preStopSeconds', 'work', 'sessions lost', 'time of a replica', 'of 100, one at a time'], rows);
}

const MAKERS = { sizes, mesh, limits, placing, pools, updates };

/**
 * @param {TableName} name
 * @param {Flags} flags
 */
export function table(name, flags) {
  return MAKERS[name](flags);
}

/**
 * What the tables are about, in a line.
 * @param {Flags} flags
 */
export function summary(flags) {
  const node = nodeOf(flags);
  return (
    `A node: ${flags.cores.toString()} processors, ${flags.memory.toString()} GiB, ${placesOf(node).toString()} places, ` +
    `a pool of ${flags.pool.toString()}. ${rateOf(flags).toFixed(2)} new sessions per second and node, ` +
    `${flags.sessionSeconds.toString()} s each, ${flags.compute.toString()} s of them computing. ` +
    `Proxies: ${flags.placing}, one for ${flags.nodesPerProxy.toString()} nodes (${proxiesOf(flags, COMPARED).toString()} for ${COMPARED.toString()}).`
  );
}
