/** Decides whether the failure of a clone can be due to its template. */
import { exhaustionIn } from '../../common/exhaustion.js';
import { GuestfsError } from '../../common/errors.js';
import { inTime } from '../../common/waiting.js';
import type { QemuProcess } from '../../qemu/qemuProcess.js';

/** Signals sent from outside, by an operator or a kernel that is out of memory; a crash causes other signals. */
const OUTSIDE: ReadonlySet<string> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGXCPU']);

/** How long after its connections have closed the exit of a qemu may be noticed, milliseconds. */
const EXIT_MS = 300;

/** A clone could not be started, and its drives are not the cause: a cold boot may still work. */
export class CloneFailed extends Error {
  override readonly name = 'CloneFailed';

  /** @param killed whether its qemu was killed, but not by this server */
  constructor(
    message: string,
    options: ErrorOptions,
    readonly killed = false,
  ) {
    super(message, options);
  }
}

/** Whether a qemu that this server has not stopped was killed. */
export async function wasKilled(qemu: Pick<QemuProcess, 'exited'>): Promise<boolean> {
  const exit = await inTime(EXIT_MS, undefined, qemu.exited);
  return exit?.signal !== undefined && OUTSIDE.has(exit.signal);
}

/** False if the clone was killed, or the host had run out of some resource: the next clone may well work. */
export function blamesTemplate(error: unknown): boolean {
  if (error instanceof CloneFailed && error.killed) return false;
  const signal = error instanceof GuestfsError ? error.details.metadata?.['signal'] : undefined;
  return !(signal !== undefined && OUTSIDE.has(signal)) && exhaustionIn(error) === undefined;
}
