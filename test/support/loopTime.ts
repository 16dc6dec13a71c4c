/** How long the event loop is kept by one piece of work: what all other clients of a server wait for. */

/** Milliseconds of processor time that `work` takes; a loaded machine does not make it more. */
export function processorTime(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
