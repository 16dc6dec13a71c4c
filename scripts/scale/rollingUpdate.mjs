/** A rolling update: a few replicas at a time are drained, ended and started anew, as in docs/deploy.md. */
import { VALUES } from './figures.mjs';

/**
 * @typedef {object} UpdateOptions
 * @property {number} atATime replicas
 * @property {number} preStop seconds at most until the sessions have ended by themselves
 * @property {number} drainDelay seconds in which everything is served
 * @property {number} drainGrace seconds; calls may go on for half of them
 * @property {boolean} oneCall whether a session is a single call, which may go on
 */

/**
 * Updated replicas; the sessions that they had when it began; the sum of the seconds that it took.
 * @typedef {{ updated: number, hadAtUpdate: number, updateSeconds: number }} Counts
 */

/** How often it is looked whether a replica has no sessions any more, seconds. */
const LOOK_AGAIN = 1;

/**
 * Updates all replicas; how many, and how long it takes, is counted.
 * @param {import('./eventQueue.mjs').EventQueue} queue
 * @param {readonly import('./replica.mjs').Replica[]} replicas
 * @param {UpdateOptions} options
 * @param {{ readonly counts: Counts }} counted
 */
export function updateAll(queue, replicas, options, { counts }) {
  let next = 0;
  const another = () => {
    const replica = replicas[next++];
    if (replica === undefined) return;
    if (replica.state !== 'serving') {
      another();
      return;
    }
    updateOne(queue, replica, options, counts, another);
  };
  for (let count = 0; count < options.atATime; count++) another();
}

/**
 * @param {import('./eventQueue.mjs').EventQueue} queue
 * @param {import('./replica.mjs').Replica} replica
 * @param {UpdateOptions} options
 * @param {Counts} counts
 * @param {() => void} done
 */
function updateOne(queue, replica, { preStop, drainDelay, drainGrace, oneCall }, counts, done) {
  const begun = queue.now;
  const had = replica.sessions.size;
  replica.state = 'drained';
  const patience = queue.now + preStop;
  /**
   * The next step, unless the node has failed.
   * @param {number} delay
   * @param {() => void} step
   */
  const then = (delay, step) => {
    queue.after(delay, () => {
      if (replica.state === 'drained') step();
      else done();
    });
  };
  const waitForSessions = () => {
    if (replica.sessions.size > 0 && queue.now < patience) then(LOOK_AGAIN, waitForSessions);
    else then(drainDelay, close);
  };
  const close = () => {
    counts.hadAtUpdate += had;
    // A call that runs may go on; a session without one is closed, with a sync.
    replica.end('update', ({ state }) => !(oneCall || state === 'launching'));
    if (replica.sessions.size === 0) stop();
    else then(drainGrace / 2, stop);
  };
  const stop = () => {
    replica.end('update', () => true);
    replica.stop();
    queue.after(VALUES.start, () => {
      replica.restart();
      counts.updated += 1;
      counts.updateSeconds += queue.now - begun;
      done();
    });
  };
  waitForSessions();
}
