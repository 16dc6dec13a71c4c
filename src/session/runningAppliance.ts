/** A running appliance and the connection to its daemon. */
import { pingDaemon } from '../../gen/calls/appliance.js';
import type { Machine, MachineExit } from '../launcher/launcher.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';

/**
 * How long a qemu that is being killed has to flush what the appliance has already written: enough for a qemu that
 * works. One that does not react in time gets SIGKILL.
 */
const KILL_GRACE_MS = 1000;

export class RunningAppliance {
  #stopRequested = false;
  #noteStop: () => void = () => undefined;
  /** Calls may have changed something since the last sync. */
  unsynced = false;
  /** A call has failed because it ended: somebody knows what may be lost. */
  endReported = false;
  /** Resolves when it has ended, or is about to because the server has asked it to stop. */
  readonly stopping: Promise<unknown>;

  constructor(
    readonly machine: Machine,
    readonly connection: DaemonConnection,
    readonly version: DaemonVersion,
  ) {
    const asked = new Promise<void>((resolve) => {
      this.#noteStop = resolve;
    });
    this.stopping = Promise.race([asked, this.ended()]);
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
