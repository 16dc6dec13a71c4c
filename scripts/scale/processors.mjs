/**
 * The processors of a node. Each task uses one of them at most; if there are more tasks than processors, all tasks get
 * the same share. That is how the kernel's scheduler treats appliances with one virtual CPU each.
 */

/**
 * A task: it has ended when the work that each task has got since the beginning reaches `until`.
 * @typedef {object} Task
 * @property {number} until
 * @property {() => void} ended
 */

export class Processors {
  #queue;
  #cores;
  /**
   * Those that run, in the order in which they end.
   * @type {Task[]}
   */
  #tasks = [];
  /** Work that a task would have got which has run since the beginning, seconds of a processor. */
  #work = 0;
  #countedAt = 0;
  /** Events of earlier versions are obsolete. */
  #version = 0;
  /** What the event of this version is for. @type {Task | undefined} */
  #expected;
  #expectedRate = 0;
  /** Work done for all tasks. */
  used = 0;

  /**
   * @param {import('./eventQueue.mjs').EventQueue} queue
   * @param {number} cores
   */
  constructor(queue, cores) {
    this.#queue = queue;
    this.#cores = cores;
  }

  /** The part of a processor that each task has now. */
  get #rate() {
    return Math.min(1, this.#cores / this.#tasks.length);
  }

  /**
   * Starts a task.
   * @param {number} work seconds of a processor
   * @param {() => void} ended
   * @returns {Task} for {@link cancel}
   */
  start(work, ended) {
    this.#count();
    const task = { until: this.#work + work, ended };
    let index = this.#tasks.length;
    while (index > 0 && /** @type {Task} */ (this.#tasks[index - 1]).until > task.until) index -= 1;
    this.#tasks.splice(index, 0, task);
    this.#expect();
    return task;
  }

  /**
   * Ends a task early; `ended` is not called.
   * @param {Task} task
   */
  cancel(task) {
    const index = this.#tasks.indexOf(task);
    if (index === -1) return;
    this.#count();
    this.#tasks.splice(index, 1);
    this.#expect();
  }

  /** Ends all tasks early. */
  cancelAll() {
    this.#count();
    this.#tasks.length = 0;
    this.#expect();
  }

  #count() {
    const { now } = this.#queue;
    if (this.#tasks.length > 0) {
      const done = (now - this.#countedAt) * this.#rate;
      this.#work += done;
      this.used += done * this.#tasks.length;
    }
    this.#countedAt = now;
  }

  #expect() {
    const first = this.#tasks[0];
    const rate = this.#rate;
    if (first === this.#expected && rate === this.#expectedRate) return;
    this.#expected = first;
    this.#expectedRate = rate;
    const version = ++this.#version;
    if (first === undefined) return;
    this.#queue.after(Math.max(0, first.until - this.#work) / rate, () => {
      if (version === this.#version) this.#end(first);
    });
  }

  /** @param {Task} task */
  #end(task) {
    this.#count();
    this.#tasks.shift();
    this.#expect();
    task.ended();
  }
}
