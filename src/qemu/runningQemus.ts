/** The qemus that this server has started and that run, for whatever purpose, by their PIDs on the host. */
const running = new Set<number>();

/** Notes a qemu until it has exited. */
export function noteRunning(pid: number, exited: Promise<unknown>): void {
  running.add(pid);
  void exited.then(() => running.delete(pid));
}

/** Their PIDs. */
export function runningQemus(): readonly number[] {
  return [...running];
}
