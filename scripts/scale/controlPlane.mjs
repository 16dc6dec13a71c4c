/**
 * What a service costs apart from its sessions, and what that is limited by. Replicas that know each other as peers are
 * a mesh; a large service can consist of several, each with its own name in DNS, session key and proxies: cells.
 */
import { VALUES } from './figures.mjs';

/**
 * @typedef {object} Shape
 * @property {number} replicas of the mesh
 * @property {number} proxies that know it
 * @property {number} sessions of a replica, on average
 * @property {number} rate of new sessions per second on a replica
 */

/** A message of DNS over TCP has at most this many bytes: its length is a number of 16 bits (RFC 1035, 4.2.2). */
const DNS_MESSAGE = 65_535;
/** Header, question and the name of the service: of a name with 60 characters. */
const DNS_QUESTION = 78;
/** An answer with an IPv4 address, whose name is a pointer to that of the question. */
const DNS_ADDRESS = 16;
/** Proxies check a replica as a server and as a place for new sessions, on a connection each. */
const CHECKS = 2;

/**
 * Loads of a mesh. Calls between replicas cost the one that asks as much as the one that answers.
 * @param {Shape} shape
 */
export function controlPlane({ replicas, proxies, sessions, rate }) {
  const peers = replicas - 1;
  const cost = VALUES.serverTimeOfCall;
  const asked = peers / VALUES.askInterval;
  const checked = (CHECKS * proxies) / VALUES.healthInterval;
  const round = peers * cost;
  // Where a request ID was used first is noted by two replicas, one of which can be the one that asks.
  const noted = replicas === 1 ? 0 : rate * VALUES.notedBy * (peers / replicas);
  const soughtLost = replicas === 1 ? 0 : 1 / VALUES.askAgain;
  const pages = Math.max(1, Math.ceil((replicas * sessions) / VALUES.pageSize));
  const listCalls = pages * peers;
  return {
    /** Connections of a replica from its peers, and from proxies. */
    connections: peers + CHECKS * proxies,
    /** Those of them that `--max-connections` is for: each peer has one more. */
    limitedConnections: CHECKS * proxies,
    /** Calls per second that a replica answers for peers and proxies. */
    asked: asked + noted + checked,
    /** Part of the event loop for them, and for asking the peers. */
    loop: (2 * (asked + noted) + checked) * cost,
    /** The same while clients use sessions of a replica that has ended: its address is asked, as often as may be. */
    loopInStorm: (2 * (asked + noted) + checked + soughtLost) * cost,
    /** Time to ask all peers once. */
    round,
    dnsBytes: DNS_QUESTION + replicas * DNS_ADDRESS,
    dnsPerSecond: replicas / VALUES.askInterval,
    checksPerSecond: replicas * checked,
    loadSubscribers: proxies,
    /** Calls to peers for a list of the sessions of all, page by page, and how long the one that makes them is busy. */
    listCalls,
    listSeconds: listCalls * cost,
  };
}

/** @typedef {ReturnType<typeof controlPlane>} Loads */

/**
 * A limit, and the load that it is for.
 * @typedef {object} Limit
 * @property {string} name
 * @property {number} limit
 * @property {(loads: Loads, replicas: number) => number} load
 * @property {string} effect
 */

/** @param {number} updateSeconds of one replica */
function limits(updateSeconds) {
  return /** @type {readonly Limit[]} */ ([
    {
      name: 'connections of proxies (`--max-connections`)',
      limit: VALUES.maxConnections,
      load: ({ limitedConnections }) => limitedConnections,
      effect: 'idle connections are closed, and made again for each check, with a TLS handshake each',
    },
    {
      name: 'file descriptors of a replica for connections (half of 65,536)',
      limit: VALUES.descriptors / 2,
      load: ({ connections }) => connections,
      effect: 'as above; raise `ulimit -n`',
    },
    {
      name: 'a list of all sessions takes a minute',
      limit: 60,
      load: ({ listSeconds }) => listSeconds,
      effect: '`ListSessions` with `all_replicas` asks all of them again for each page',
    },
    {
      name: 'a rolling update, one at a time, takes a day',
      limit: 86_400,
      load: (_loads, replicas) => replicas * updateSeconds,
      effect: 'updates overlap; several at a time need cells, or `maxUnavailable` of the StatefulSet',
    },
    {
      name: 'DNS answer (64 KiB)',
      limit: DNS_MESSAGE,
      load: ({ dnsBytes }) => dnsBytes,
      effect: 'the name does not resolve: no peers are found, OWNER_UNREACHABLE',
    },
    {
      name: 'nodes of a Kubernetes cluster',
      limit: 5000,
      load: (_loads, replicas) => replicas,
      effect: 'what Kubernetes is tested with',
    },
    {
      name: 'peers asked within 2 s',
      limit: VALUES.askLimit,
      load: ({ round }) => round,
      effect: 'replicas that live count as silent: OWNER_UNREACHABLE',
    },
    {
      name: 'event loop for peers and health checks',
      limit: 1,
      load: ({ loop }) => loop,
      effect: 'nothing is left for sessions',
    },
    {
      name: 'subscribers to load reports',
      limit: VALUES.loadSubscribers,
      load: ({ loadSubscribers }) => loadSubscribers,
      effect: 'further proxies get no reports, and place sessions as if all replicas were alike',
    },
  ]);
}

const MOST = 1_000_000;

/**
 * All limits of a mesh, in the order in which they are reached as it grows.
 * @param {(replicas: number) => Shape} shapeOf
 * @param {number} updateSeconds of one replica
 */
export function limitsInOrder(shapeOf, updateSeconds) {
  return limits(updateSeconds)
    .map(({ name, limit, load, effect }) => {
      /** @param {number} replicas */
      const exceeds = (replicas) => load(controlPlane(shapeOf(replicas)), replicas) > limit;
      let low = 1;
      let high = MOST;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (exceeds(middle)) high = middle;
        else low = middle + 1;
      }
      return { name, effect, replicas: low };
    })
    .sort((one, other) => one.replicas - other.replicas);
}
