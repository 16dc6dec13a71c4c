/** A running appliance and the connection to its daemon. */
import type { Machine, MachineExit } from '../launcher/launcher.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import type { DaemonVersion } from '../protocol/daemonVersion.js';

export class RunningAppliance {
  #stopRequested = false;

  constructor(
    readonly machine: Machine,
    readonly connection: DaemonConnection,
    readonly version: DaemonVersion,
  ) {}

  /** Whether the server has asked it to stop. */
  get stopRequested(): boolean {
    return this.#stopRequested;
  }

  /** Resolves when the machine has exited or the connection is closed, whatever the cause. */
  ended(): Promise<unknown> {
    return Promise.race([this.connection.closed, this.machine.exited]);
  }

  /**
   * Ends the machine without a sync; a call in progress fails. Can be called again, with a shorter grace period.
   * @param graceMs how long qemu may take; undefined: the machine's default
   * @returns how qemu ended, once all resources of the machine are released
   */
  stop(graceMs?: number): Promise<MachineExit> {
    this.#stopRequested = true;
    this.connection.close();
    return this.machine.stop(graceMs);
  }
}
