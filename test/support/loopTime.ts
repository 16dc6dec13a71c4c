/** How long a piece of work blocks the event loop: all other clients of a server wait during that time. */

/** Milliseconds of CPU time that `work` takes, which other load on the machine does not increase. */
export function processorTime(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
