/** Starts an appliance: from a session's settings to a daemon that takes calls. */
import type { ConsoleLog } from '../common/consoleLog.js';
import { GuestfsError } from '../common/errors.js';
import { decodeGuestText } from '../common/guestText.js';
import { asPart } from '../common/spans.js';
import { onAbort, unlessAborted } from '../common/waiting.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Drive } from '../images/drive.js';
import { runInAppliance } from '../launcher/appliance/applianceShell.js';
import { causeOfEnd } from '../launcher/endOfMachine.js';
import type { LaunchConfig, Launcher, LaunchOptions, Machine, MachineExit } from '../launcher/launcher.js';
import { DaemonConnection, type ConnectionEvents } from '../protocol/daemonConnection.js';
import { DaemonVersion } from '../protocol/daemonVersion.js';
import { askVersion } from './askVersion.js';
import { acceleratorOf } from './backendSettings.js';
import { KILL_GRACE_MS, RunningAppliance } from './runningAppliance.js';
import type { SessionSettings } from './settings.js';

/** How much console output is searched for the cause of a failed launch, or of the end of an appliance, bytes. */
const EXPLANATION_TAIL = 16 * 1024;

/** Milliseconds that a launch and its steps took. */
export interface SessionLaunchTimings {
  readonly totalMs: number;
  readonly prepareMs: number;
  readonly drivesMs: number;
  readonly qemuMs: number;
  readonly bootMs: number;
}

export interface StartOptions extends LaunchOptions, ConnectionEvents {
  /** Where the console's output is collected. */
  readonly console: ConsoleLog;
  /** The machine runs; its daemon is not up yet. */
  readonly onMachine: () => void;
}

/** The machine that a session's settings and drives describe. */
export function launchConfig(
  id: string,
  settings: SessionSettings,
  drives: readonly Drive[],
  disk?: DiskQuota,
): LaunchConfig {
  return {
    drives,
    memsizeMb: settings.memsizeMb,
    smp: settings.smp,
    network: settings.network,
    selinux: settings.selinux,
    verbose: settings.verbose,
    accelerator: acceleratorOf(settings),
    qemuBinary: settings.hv,
    appliancePath: settings.path,
    append: settings.append,
    session: id,
    identifier: settings.identifier,
    extraQemuArguments: settings.extraQemuArguments,
    disk,
    temporaryDirectory: settings.tmpdir,
    cacheDirectory: settings.cachedir,
  };
}

/**
 * Starts a machine and waits for its daemon.
 * @throws GuestfsError with the cause, or the signal's reason; the machine has been cleaned up
 */
export async function startAppliance(
  launcher: Launcher,
  config: LaunchConfig,
  options: StartOptions,
): Promise<{ readonly appliance: RunningAppliance; readonly timings: SessionLaunchTimings }> {
  const started = performance.now();
  const { console } = options;
  const { total } = console;
  // Without the output of the session's earlier appliances.
  const tail = (): string => decodeGuestText(console.tailSince(total, EXPLANATION_TAIL));
  const machine = await launcher.launch(config, options);
  try {
    options.onMachine();
    const connection = machine.connection?.follow(options) ?? new DaemonConnection(machine.channel, options);
    const version = await asPart(options.signal, { name: 'boot' }, async () => {
      const found = await awaitDaemon(machine, connection, { tail, signal: options.signal });
      if (machine.afterBoot !== undefined) await runInAppliance(connection, machine.afterBoot, options.signal);
      return found;
    });
    const totalMs = performance.now() - started;
    const { prepareMs, drivesMs, qemuMs } = machine.timings;
    return {
      appliance: new RunningAppliance(machine, connection, version, (exit) =>
        causeOfEnd({ console: tail(), exit, memsizeMb: config.memsizeMb }),
      ),
      timings: { totalMs, prepareMs, drivesMs, qemuMs, bootMs: totalMs - prepareMs - drivesMs - qemuMs },
    };
  } catch (error) {
    await endFailed(machine, options.signal);
    throw error;
  }
}

/** Waits until the daemon is up and its version is known; explains a failure. */
async function awaitDaemon(
  machine: Machine,
  connection: DaemonConnection,
  { signal, tail }: { readonly signal: AbortSignal; readonly tail: () => string },
): Promise<DaemonVersion> {
  try {
    return await unlessAborted(firstContact(machine, connection), signal);
  } catch (error) {
    if (signal.aborted) {
      const reason = GuestfsError.from(signal.reason);
      throw reason.reason === 'LAUNCH_TIMEOUT' ? machine.explainFailure(tail(), 'timeout') : reason;
    }
    if (connection.failure?.reason !== 'APPLIANCE_GONE') throw error;
    throw machine.explainFailure(tail(), await endFailed(machine, signal));
  }
}

/**
 * Ends a machine that did not come up. It has no data to lose, so once nobody waits for the launch it is killed; until
 * then it has time to exit by itself, since how it exits may be the explanation.
 */
async function endFailed(machine: Machine, signal: AbortSignal): Promise<MachineExit> {
  if (signal.aborted) return machine.stop(KILL_GRACE_MS);
  const stopListening = onAbort(signal, () => {
    // Its failure is that of the first one, which is waited for.
    machine.stop(KILL_GRACE_MS).catch(() => undefined);
  });
  try {
    return await machine.stop();
  } finally {
    stopListening();
  }
}

async function firstContact(machine: Machine, connection: DaemonConnection): Promise<DaemonVersion> {
  await connection.awaitLaunch();
  return machine.daemonVersion === undefined ? askVersion(connection) : new DaemonVersion(machine.daemonVersion);
}

/** The error of a launch that exceeded its time limit. */
export function launchTimeout(limitMs: number): GuestfsError {
  return new GuestfsError(
    'LAUNCH_TIMEOUT',
    `the appliance did not come up within the ${limitMs / 1000} s that this session gives it`,
  );
}
