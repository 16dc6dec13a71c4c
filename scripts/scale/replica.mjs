/** A replica on a node of its own: its places, its processors, its pool of clones, its server's event loop. */
import { VALUES } from './figures.mjs';
import { Processors } from './processors.mjs';

/**
 * What a node has, and how its replica is set up.
 * @typedef {object} NodeOptions
 * @property {number} cores
 * @property {number} memory MiB
 * @property {number} memsize MiB of a session that is busy
 * @property {number} maxSessions
 * @property {number} pool
 * @property {'template' | 'cold'} launch
 */

/**
 * How many sessions a node has memory for, if all are busy, and --max-sessions allows.
 * @param {NodeOptions} node
 */
export function placesOf({ memory, memsize, maxSessions, pool }) {
  const free = memory - VALUES.sharedMemory - VALUES.serverMemory - pool * VALUES.cloneMemory;
  return Math.max(0, Math.min(maxSessions, Math.floor(free / memsize)));
}

/**
 * A session, from CreateSession on.
 * @typedef {object} Session
 * @property {'launching' | 'idle' | 'busy' | 'ended'} state
 * @property {import('./processors.mjs').Task | undefined} task
 * @property {boolean} isCalled whether the call that made it is in flight
 * @property {boolean} isReady whether it has been launched
 * @property {(why: 'update' | 'failure') => void} lost
 */

/** serving; drained: no new sessions; down: it has failed, or starts. */
/** @typedef {'serving' | 'drained' | 'down'} ReplicaState */

export class Replica {
  #queue;
  #options;
  /** The processors of the node. */
  processors;
  places;
  /** @type {ReplicaState} */
  state = 'serving';
  /** @type {Set<Session>} */
  sessions = new Set();
  /** Clones in the pool. */
  waiting;
  #isFilling = false;
  /** When the server's event loop has done what it was asked. */
  #loopFree = 0;
  /** Part of the event loop that is left for sessions. */
  #loopShare;
  #hasRoom = true;

  /**
   * @param {import('./eventQueue.mjs').EventQueue} queue
   * @param {NodeOptions} options
   * @param {number} loopShare part of the event loop that sessions get; the other replicas and proxies take the rest
   */
  constructor(queue, options, loopShare) {
    this.#queue = queue;
    this.#options = options;
    this.#loopShare = loopShare;
    this.processors = new Processors(queue, options.cores);
    this.places = placesOf(options);
    this.waiting = options.pool;
  }

  /** What the health of SessionService says: not serving once it is full, until a twentieth of the places is free. */
  get isOpen() {
    return this.state === 'serving' && this.#hasRoom;
  }

  #resized() {
    const free = this.places - this.sessions.size;
    this.#hasRoom = this.#hasRoom ? free > 0 : free >= Math.max(1, Math.ceil(this.places * VALUES.roomAgain));
  }

  /** The share of places that are taken, as in its load reports. */
  get utilization() {
    return this.places === 0 ? 1 : this.sessions.size / this.places;
  }

  /**
   * Takes a place for a session.
   * @param {Session} session
   * @returns why not; undefined: it has one
   */
  take(session) {
    if (this.state === 'down') return 'down';
    if (this.state === 'drained') return 'drained';
    if (this.sessions.size >= this.places) return 'full';
    this.sessions.add(session);
    this.#resized();
    return undefined;
  }

  /**
   * Launches a session that has a place.
   * @param {Session} session
   * @param {() => void} ready
   */
  launch(session, ready) {
    const { now } = this.#queue;
    const begin = Math.max(now, this.#loopFree);
    this.#loopFree = begin + VALUES.serverTimeOfSession / this.#loopShare;
    const start = () => {
      if (session.state === 'launching') this.run(session, this.#launchTime(), ready);
    };
    if (begin === now) start();
    else this.#queue.at(begin, start);
  }

  /** The processor time of the next launch; takes a clone from the pool, if there is one. */
  #launchTime() {
    if (this.#options.launch === 'cold') return VALUES.coldLaunch;
    if (this.waiting === 0) return VALUES.templateLaunch;
    this.waiting -= 1;
    this.#fill();
    return VALUES.poolLaunch;
  }

  /** Makes clones for the pool, one after the other, as long as there is memory. */
  #fill() {
    if (this.state === 'down' || this.#isFilling || this.waiting >= this.#options.pool) return;
    if (!this.#hasMemoryForClones()) return;
    this.#isFilling = true;
    this.processors.start(VALUES.poolRefill, () => {
      this.#isFilling = false;
      this.waiting += 1;
      this.#fill();
    });
  }

  #hasMemoryForClones() {
    const { memory, memsize } = this.#options;
    const used = VALUES.sharedMemory + VALUES.serverMemory + this.waiting * VALUES.cloneMemory;
    return memory - used - this.sessions.size * memsize >= VALUES.freeMemoryForPool;
  }

  /**
   * Lets a session's appliance work.
   * @param {Session} session
   * @param {number} work seconds of a processor
   * @param {() => void} ended
   */
  run(session, work, ended) {
    session.task = this.processors.start(work, () => {
      session.task = undefined;
      ended();
    });
  }

  /**
   * Frees the place of a session.
   * @param {Session} session
   */
  remove(session) {
    if (session.task !== undefined) this.processors.cancel(session.task);
    session.task = undefined;
    session.state = 'ended';
    this.sessions.delete(session);
    this.#resized();
    this.#fill();
  }

  /**
   * Ends sessions that have not ended by themselves.
   * @param {'update' | 'failure'} why
   * @param {(session: Session) => boolean} which
   */
  end(why, which) {
    for (const session of [...this.sessions]) {
      if (!which(session)) continue;
      this.remove(session);
      session.lost(why);
    }
  }

  /** Ends the server, and all that is left. */
  stop() {
    this.state = 'down';
    this.processors.cancelAll();
    this.#isFilling = false;
    this.waiting = 0;
  }

  /** Starts it again, with an empty pool. */
  restart() {
    this.state = 'serving';
    this.#loopFree = this.#queue.now;
    this.#fill();
  }
}
