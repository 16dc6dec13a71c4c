/**
 * A proxy that places sessions. It knows the replicas from health checks and load reports, which are some seconds old,
 * and the calls that it has passed on itself; it knows nothing of the other proxies.
 */
import { VALUES } from './figures.mjs';

/**
 * round-robin: one after the other. orca: by the free places in load reports (Envoy's client_side_weighted_round_robin).
 * random-two: of two, the one with fewer calls of this proxy in flight (Envoy's LEAST_REQUEST).
 */
export const POLICIES = /** @type {const} */ (['round-robin', 'orca', 'random-two']);

/** @typedef {(typeof POLICIES)[number]} Policy */

/** Weights are computed anew this often, seconds: the default of Envoy and gRPC. */
const WEIGHT_INTERVAL = 1;
/** Replicas report this utilization at least, so that the weight of an idle one is finite. */
const LEAST_UTILIZATION = 0.01;

export class Proxy {
  #replicas;
  #policy;
  #random;
  /** Indices of the replicas that said they have room; there are `#openCount` of them. */
  #open;
  #openCount = 0;
  #next;
  /** Calls of this proxy that each replica has. */
  #inFlight;
  #utilization;
  /** Sums of the weights of the open replicas. */
  #sums = new Float64Array(0);
  #weighedAt = -Infinity;
  /** How far round robin by weights has come, from 0 to 1. */
  #step;

  /**
   * @param {readonly import('./replica.mjs').Replica[]} replicas
   * @param {Policy} policy
   * @param {import('./random.mjs').Random} random
   */
  constructor(replicas, policy, random) {
    this.#replicas = replicas;
    this.#policy = policy;
    this.#random = random;
    this.#open = new Int32Array(replicas.length);
    this.#inFlight = new Int32Array(replicas.length);
    this.#utilization = new Float64Array(replicas.length);
    this.#next = random.below(replicas.length);
    this.#step = random.next();
  }

  /** Asks all replicas for their health. */
  checkHealth() {
    let count = 0;
    for (let index = 0; index < this.#replicas.length; index++)
      if (this.#replicas[index]?.isOpen === true) this.#open[count++] = index;
    // If nearly none has room, all are asked: the error says when to try again.
    if (count < this.#replicas.length / 100 || count === 0)
      for (count = 0; count < this.#replicas.length; count++) this.#open[count] = count;
    this.#openCount = count;
    this.#weighedAt = -Infinity;
  }

  /** Takes the load reports of all replicas that run. */
  takeReports() {
    for (let index = 0; index < this.#replicas.length; index++) this.takeReport(index);
  }

  /**
   * Takes a load report, or that in the trailers of a call.
   * @param {number} index
   */
  takeReport(index) {
    const replica = this.#replicas[index];
    if (replica !== undefined && replica.state !== 'down') this.#utilization[index] = replica.utilization;
  }

  /**
   * Counts calls in flight.
   * @param {number} index
   * @param {1 | -1} change
   */
  count(index, change) {
    this.#inFlight[index] = (this.#inFlight[index] ?? 0) + change;
  }

  /**
   * The replica for a new session.
   * @param {number} now
   */
  choose(now) {
    switch (this.#policy) {
      case 'round-robin':
        this.#next = (this.#next + 1) % this.#openCount;
        return this.#at(this.#next);
      case 'random-two': {
        const one = this.#at(this.#random.below(this.#openCount));
        const other = this.#at(this.#random.below(this.#openCount));
        return (this.#inFlight[other] ?? 0) < (this.#inFlight[one] ?? 0) ? other : one;
      }
      case 'orca':
        return this.#byWeight(now);
    }
  }

  /** @param {number} place */
  #at(place) {
    return /** @type {number} */ (this.#open[place]);
  }

  /** @param {number} now */
  #byWeight(now) {
    if (now - this.#weighedAt >= WEIGHT_INTERVAL) this.#weigh(now);
    // Steps of the same length along the sums: a replica is chosen as often as its weight says, and at even intervals.
    const all = this.#sums[this.#openCount - 1] ?? 0;
    this.#step = (this.#step + 1 / this.#openCount) % 1;
    const wanted = this.#step * all;
    let low = 0;
    let high = this.#openCount - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sums[middle] ?? 0) > wanted) high = middle;
      else low = middle + 1;
    }
    return this.#at(low);
  }

  /** @param {number} now */
  #weigh(now) {
    this.#weighedAt = now;
    if (this.#sums.length === 0) this.#sums = new Float64Array(this.#replicas.length);
    let sum = 0;
    for (let place = 0; place < this.#openCount; place++) {
      sum += 1 / Math.max(LEAST_UTILIZATION, this.#utilization[this.#at(place)] ?? 0);
      this.#sums[place] = sum;
    }
  }
}

/**
 * Lets proxies ask the replicas, each at its own times.
 * @param {import('./eventQueue.mjs').EventQueue} queue
 * @param {readonly Proxy[]} proxies
 * @param {{ readonly reportInterval: number, readonly policy: Policy }} options
 */
export function startAsking(queue, proxies, { reportInterval, policy }) {
  /**
   * @param {number} interval
   * @param {(proxy: Proxy) => void} ask
   */
  const each = (interval, ask) => {
    for (const [index, proxy] of proxies.entries()) {
      const again = () => {
        ask(proxy);
        queue.after(interval, again);
      };
      queue.after(((index + 1) / proxies.length) * interval, again);
    }
  };
  each(VALUES.healthInterval, (proxy) => proxy.checkHealth());
  if (policy === 'orca') each(reportInterval, (proxy) => proxy.takeReports());
}
