/**
 * Clients that create sessions, proxies that place them, replicas that run them, nodes that fail and are updated.
 * Nothing here knows how the results are printed.
 */
import { EventQueue } from './eventQueue.mjs';
import { VALUES } from './figures.mjs';
import { Proxy, startAsking } from './proxy.mjs';
import { Random } from './random.mjs';
import { Replica } from './replica.mjs';
import { updateAll } from './rollingUpdate.mjs';

/**
 * Times in seconds.
 * @typedef {object} Options
 * @property {number} nodes
 * @property {import('./replica.mjs').NodeOptions} node
 * @property {number} rate new sessions per second and node
 * @property {number} sessionSeconds how long a session is used, on average
 * @property {number} compute seconds of a processor that it uses meanwhile, on average
 * @property {'session' | 'inspect'} work session: CreateSession, then many calls; inspect: a single call of Inspect
 * @property {number} burst more sessions per node, all within a second, in the middle
 * @property {number} warmUp before anything is counted
 * @property {number} seconds that count
 * @property {number} seed
 * @property {import('./proxy.mjs').Policy} policy
 * @property {number} proxies
 * @property {number} reportInterval
 * @property {number} attempts of a client, until it gives up
 * @property {number} hoursBetweenFailures of one node
 * @property {number} repair until a node that failed is back
 * @property {import('./rollingUpdate.mjs').UpdateOptions | undefined} update begins when counting begins
 * @property {number} loopShare part of each server's event loop that is left for sessions
 */

/** A proxy tries another replica if it gets no connection, so many times. */
const PROXY_RETRIES = 3;

/** @typedef {{ readonly proxy: Proxy, first: number, attempt: number, readonly idle: number, readonly work: number }} Request */

export class Simulation {
  queue = new EventQueue();
  #options;
  #random;
  /** @type {readonly Replica[]} */
  replicas;
  /** @type {readonly Proxy[]} */
  #proxies;
  /** Launch latencies, from the client's first attempt. @type {number[]} */
  latencies = [];
  counts = {
    /** Sessions that clients wanted, including those that replace lost ones. */
    wanted: 0,
    /** Attempts to create one, and those that were refused. */
    attempts: 0,
    refused: 0,
    launched: 0,
    completed: 0,
    givenUp: 0,
    /** Launches that an update or a failure ended; their clients try again. */
    interrupted: 0,
    lost: { update: 0, failure: 0 },
    failures: 0,
    updated: 0,
    /** Sessions that updated replicas had when their update began. */
    hadAtUpdate: 0,
    updateSeconds: 0,
  };
  /** Clients that wait for their next attempt. */
  waiting = 0;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.replicas = Array.from(
      { length: options.nodes },
      () => new Replica(this.queue, options.node, options.loopShare),
    );
    this.#proxies = Array.from(
      { length: options.proxies },
      () => new Proxy(this.replicas, options.policy, this.#random),
    );
  }

  /** The seconds that counted. */
  get seconds() {
    return this.#options.seconds;
  }

  /** Sessions that are launching or in use. */
  get sessions() {
    return this.replicas.reduce((sum, { sessions }) => sum + sessions.size, 0);
  }

  /** Runs it. */
  run() {
    const { warmUp, seconds, burst, nodes, update } = this.#options;
    for (const proxy of this.#proxies) proxy.checkHealth();
    this.#startWithSessions();
    startAsking(this.queue, this.#proxies, this.#options);
    this.#arrive();
    this.#failSometimes();
    if (burst > 0)
      for (let count = 0; count < burst * nodes; count++)
        this.queue.at(warmUp + seconds / 2 + this.#random.next(), () => this.#want());
    this.queue.runUntil(warmUp);
    this.#forget();
    if (update !== undefined) updateAll(this.queue, this.replicas, update, this);
    this.queue.runUntil(warmUp + seconds);
    return this;
  }

  /** Begins to count. */
  #forget() {
    this.latencies.length = 0;
    const { counts } = this;
    const begun = this.sessions + this.waiting;
    for (const name of /** @type {const} */ ([
      'attempts',
      'refused',
      'launched',
      'completed',
      'givenUp',
      'interrupted',
    ]))
      counts[name] = 0;
    counts.lost = { update: 0, failure: 0 };
    counts.failures = 0;
    // Those that there are now, so that all sessions are accounted for.
    counts.wanted = begun;
    for (const { processors } of this.replicas) processors.used = 0;
  }

  /** As many sessions as there are on average, in the middle of their use. */
  #startWithSessions() {
    const { rate, nodes, sessionSeconds, compute } = this.#options;
    const places = this.replicas.reduce((sum, replica) => sum + replica.places, 0);
    const average = Math.min(places, Math.round(rate * nodes * sessionSeconds));
    for (let count = 0; count < average; count++) {
      const request = this.#newRequest();
      const index = request.proxy.choose(0);
      const replica = /** @type {Replica} */ (this.replicas[index]);
      const session = this.#sessionOf(request, index);
      if (replica.take(session) !== undefined) continue;
      this.counts.wanted += 1;
      session.isReady = true;
      session.isCalled = this.#options.work === 'inspect';
      if (session.isCalled) request.proxy.count(index, 1);
      // Exponentially distributed times have no memory: what is left of one is distributed like all of it.
      if (this.#random.next() * sessionSeconds < compute) this.#work(session, request, index);
      else this.#idle(session, request, index);
    }
  }

  #arrive() {
    const { rate, nodes } = this.#options;
    if (rate === 0) return;
    this.queue.after(this.#random.exponential(1 / (rate * nodes)), () => {
      this.#want();
      this.#arrive();
    });
  }

  /** @returns {Request} */
  #newRequest() {
    const { sessionSeconds, compute } = this.#options;
    return {
      proxy: /** @type {Proxy} */ (this.#proxies[this.#random.below(this.#proxies.length)]),
      first: this.queue.now,
      attempt: 0,
      idle: this.#random.exponential(sessionSeconds - compute),
      work: this.#random.exponential(compute),
    };
  }

  #want() {
    this.counts.wanted += 1;
    this.#attempt(this.#newRequest());
  }

  /**
   * A session of a client, on a replica.
   * @param {Request} request
   * @param {number} index
   * @returns {import('./replica.mjs').Session}
   */
  #sessionOf(request, index) {
    /** @type {import('./replica.mjs').Session} */
    const session = {
      state: 'launching',
      task: undefined,
      isCalled: true,
      isReady: false,
      lost: (why) => {
        if (session.isCalled) request.proxy.count(index, -1);
        if (session.isReady) {
          this.counts.lost[why] += 1;
          this.#want();
        } else {
          this.counts.interrupted += 1;
          this.#later(request);
        }
      },
    };
    return session;
  }

  /** @param {Request} request */
  #attempt(request) {
    const { proxy } = request;
    request.attempt += 1;
    this.counts.attempts += 1;
    for (let tries = 0; tries <= PROXY_RETRIES; tries++) {
      const index = proxy.choose(this.queue.now);
      const replica = /** @type {Replica} */ (this.replicas[index]);
      const session = this.#sessionOf(request, index);
      const refused = replica.take(session);
      if (refused === undefined) {
        proxy.count(index, 1);
        replica.launch(session, () => this.#launched(session, request, index));
        return;
      }
      if (refused !== 'down') break;
    }
    this.counts.refused += 1;
    this.#later(request);
  }

  /**
   * Tries again after the time in the RetryInfo.
   * @param {Request} request
   */
  #later(request) {
    if (request.attempt >= this.#options.attempts) {
      this.counts.givenUp += 1;
      return;
    }
    this.waiting += 1;
    // A little apart, as clients are told to.
    this.queue.after(VALUES.retryAfter * (1 + this.#random.next() / 5), () => {
      this.waiting -= 1;
      this.#attempt(request);
    });
  }

  /**
   * @param {import('./replica.mjs').Session} session
   * @param {Request} request
   * @param {number} index
   */
  #launched(session, request, index) {
    this.counts.launched += 1;
    this.latencies.push(this.queue.now - request.first);
    session.isReady = true;
    if (this.#options.work === 'session') this.#answered(session, request, index);
    this.#idle(session, request, index);
  }

  /**
   * The call that made the session is answered.
   * @param {import('./replica.mjs').Session} session
   * @param {Request} request
   * @param {number} index
   */
  #answered(session, { proxy }, index) {
    session.isCalled = false;
    proxy.count(index, -1);
    proxy.takeReport(index);
  }

  /**
   * @param {import('./replica.mjs').Session} session
   * @param {Request} request
   * @param {number} index
   */
  #idle(session, request, index) {
    session.state = 'idle';
    this.queue.after(request.idle, () => {
      if (session.state === 'idle') this.#work(session, request, index);
    });
  }

  /**
   * @param {import('./replica.mjs').Session} session
   * @param {Request} request
   * @param {number} index
   */
  #work(session, request, index) {
    session.state = 'busy';
    const replica = /** @type {Replica} */ (this.replicas[index]);
    replica.run(session, request.work, () => {
      this.counts.completed += 1;
      replica.remove(session);
      if (session.isCalled) this.#answered(session, request, index);
      else request.proxy.takeReport(index);
    });
  }

  #failSometimes() {
    const { nodes, hoursBetweenFailures, repair } = this.#options;
    if (!Number.isFinite(hoursBetweenFailures)) return;
    this.queue.after(this.#random.exponential((hoursBetweenFailures * 3600) / nodes), () => {
      const replica = /** @type {Replica} */ (this.replicas[this.#random.below(nodes)]);
      if (replica.state !== 'down') {
        this.counts.failures += 1;
        replica.stop();
        replica.end('failure', () => true);
        this.queue.after(repair, () => replica.restart());
      }
      this.#failSometimes();
    });
  }
}

/** @param {Options} options */
export function simulate(options) {
  return new Simulation(options).run();
}
