/** A running appliance and the connection to its daemon. */
import { pingDaemon } from '../../gen/calls/appliance.js';
import { GuestfsError } from '../common/errors.js';
import { inTime } from '../common/waiting.js';
import type { EndCause } from '../launcher/endOfMachine.js';
import type { Machine, MachineExit } from '../launcher/launcher.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';

/**
 * How long a qemu that is being killed has to flush what the appliance has already written: enough for a qemu that
 * works. One that does not react in time gets SIGKILL.
 */
export const KILL_GRACE_MS = 1000;

/** How long after its connection has closed the exit of qemu may be noticed, milliseconds. */
const EXIT_MS = 1000;

export class RunningAppliance {
  #stopRequested = false;
  #noteStop: () => void = () => undefined;
  /** Calls may have changed something since the last sync. */
  unsynced = false;
  /** A call has failed because it ended: somebody knows what may be lost. */
  endReported = false;
  /** Resolves when it has ended, or is about to because the server has asked it to stop. */
  readonly stopping: Promise<unknown>;
  /** Resolves when it has ended: why, if it has ended by itself and something shows the cause. Never rejects. */
  readonly cause: Promise<EndCause | undefined>;

  /** @param explain finds the cause when the machine has ended */
  constructor(
    readonly machine: Machine,
    readonly connection: DaemonConnection,
    readonly version: DaemonVersion,
    explain: (exit: MachineExit | undefined) => EndCause | undefined,
  ) {
    const asked = new Promise<void>((resolve) => {
      this.#noteStop = resolve;
    });
    this.stopping = Promise.race([asked, this.ended()]);
    this.cause = this.ended().then(async () => {
      const { failure } = this.connection;
      if (this.#stopRequested || (failure !== undefined && failure.reason !== 'APPLIANCE_GONE')) return undefined;
      return explain(await inTime(EXIT_MS, undefined, this.machine.exited));
    });
  }

  /** The error of a call; if the appliance has ended before it answered, with the cause. */
  async explained(error: unknown): Promise<unknown> {
    const lost = error instanceof GuestfsError && error.reason === 'OUTCOME_UNKNOWN';
    // The appliance may run still, and be killed only now.
    if (!lost || this.connection.failure === undefined) return error;
    const cause = await this.cause;
    if (cause === undefined) return error;
    const { reason, what, metadata } = cause;
    return new GuestfsError(reason, `${what}: ${error.message}`, {
      ...{ metadata, cause: error, outcomeUnknown: true },
    });
  }

  /** Whether the server has asked it to stop. */
  get stopRequested(): boolean {
    return this.#stopRequested;
  }

  /** Resolves when the machine has exited or the connection is closed, whatever the cause. */
  ended(): Promise<unknown> {
    return Promise.race([this.connection.closed, this.machine.exited]);
  }

  /** Resolves when the daemon answers; only while no call is in progress. */
  async ping(): Promise<void> {
    await this.connection.call(pingDaemon, {}, this.version);
  }

  /**
   * Ends the machine without a sync; a call in progress fails. Can be called again, with a shorter grace period.
   * @param graceMs how long qemu may take; undefined: the machine's default
   * @returns how qemu ended, once all resources of the machine are released
   */
  stop(graceMs?: number): Promise<MachineExit> {
    this.#stopRequested = true;
    this.#noteStop();
    this.connection.close();
    return this.machine.stop(graceMs);
  }

  /** Ends the machine at once, whatever it does; as {@link stop} otherwise. */
  kill(): Promise<MachineExit> {
    return this.stop(KILL_GRACE_MS);
  }
}
