/** The clock of a simulation: events in the order of their times, those of the same time in the order of their making. */

/**
 * An event that is to come.
 * @typedef {object} Event
 * @property {number} time
 * @property {number} order
 * @property {() => void} action
 */

/**
 * @param {Event} one
 * @param {Event} other
 */
function isBefore(one, other) {
  return one.time < other.time || (one.time === other.time && one.order < other.order);
}

/** A binary heap. */
export class EventQueue {
  /** @type {Event[]} */
  #heap = [];
  #order = 0;
  #now = 0;

  /** The simulated time, seconds. */
  get now() {
    return this.#now;
  }

  /**
   * Calls `action` at a time, which must not be in the past.
   * @param {number} time
   * @param {() => void} action
   */
  at(time, action) {
    if (!(time >= this.#now)) throw new RangeError(`an event at ${String(time)}, when it is ${String(this.#now)}`);
    const event = { time, order: this.#order++, action };
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = /** @type {Event} */ (heap[parent]);
      if (!isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  /**
   * Calls `action` after a delay.
   * @param {number} delay
   * @param {() => void} action
   */
  after(delay, action) {
    this.at(this.#now + delay, action);
  }

  /**
   * Lets time pass.
   * @param {number} end
   */
  runUntil(end) {
    for (let first = this.#heap[0]; first !== undefined && first.time <= end; first = this.#heap[0]) {
      this.#removeFirst();
      this.#now = first.time;
      first.action();
    }
    this.#now = end;
  }

  #removeFirst() {
    const heap = this.#heap;
    const last = /** @type {Event} */ (heap.pop());
    const { length } = heap;
    if (length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= length) break;
      const right = heap[child + 1];
      if (right !== undefined && child + 1 < length && isBefore(right, /** @type {Event} */ (heap[child]))) child += 1;
      const below = /** @type {Event} */ (heap[child]);
      if (!isBefore(below, last)) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }
}
