/** Starts qemu with the state and the memory of a template. The machine is left paused where it was saved. */
import { messageOf } from '../../common/errors.js';
import { asPart } from '../../common/spans.js';
import type { Logger } from '../../common/logger.js';
import type { RunDirectory } from '../../common/tempDir.js';
import type { ImageClaims } from '../../images/imageUses.js';
import type { PreparedDrives } from '../../images/prepareDrives.js';
import { DaemonConnection } from '../../protocol/daemonConnection.js';
import type { QemuCommandLine } from '../../qemu/commandLine.js';
import { addFdMonitor } from '../../qemu/fdSender.js';
import type { QemuProcess } from '../../qemu/qemuProcess.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import type { QmpClient } from '../../qemu/qmpClient.js';
import { openBootFiles } from '../bootFiles.js';
import { CloneFailed, wasKilled } from './blame.js';
import { reportCommand, type PreflightResult } from '../preflight.js';
import { needsHostNetwork, type NetworkUse } from '../hostNetwork.js';
import { QEMU_QUOTE, quoteEnd } from '../launchFailure.js';
import type { LaunchConfig, LaunchOptions } from '../launcher.js';
import { startMonitoredMachine, type MachineSite } from '../startMachine.js';
import type { Undo } from '../undo.js';
import { restoreState } from './migration.js';
import type { Template } from './template.js';
import type { TemplateConfig } from './templateKey.js';
import { addTemplateMachine } from './templateMachine.js';

/** What a clone is restored from, and its settings. */
export interface Source {
  readonly template: Template;
  /** Must stay open until the clone is restored. */
  readonly base: PreflightResult;
  readonly config: TemplateConfig & Pick<LaunchConfig, 'session' | 'temporaryDirectory'> & NetworkUse;
}

/** Options for restoring clones. */
export interface RestoreOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
}

/** A restored machine and its resources, which `undo` releases. */
export interface Clone<Drives = unknown> {
  /** The drives with which it was started. */
  readonly drives: Drives;
  /** When these had been opened, on the clock of `performance`. */
  readonly openedAt: number;
  readonly qemu: QemuProcess;
  readonly monitor: QmpClient;
  readonly connection: DaemonConnection;
  readonly runDirectory: RunDirectory;
  /** The claims of its drives. */
  readonly claims: ImageClaims;
  readonly undo: Undo;
}

/** How long a failed qemu may take to exit. */
const END_MS = 1000;

/**
 * The result of `work`, whose failure is not due to the drives.
 * @param qemu is ended on failure: its output explains a refused migration stream better than its monitor does. Left
 *   out where none is involved.
 * @throws CloneFailed, or the reason of `signal`
 */
export async function orCloneFailed<Value>(
  work: Promise<Value>,
  signal: AbortSignal,
  qemu?: Pick<QemuProcess, 'stop' | 'exited'>,
): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    signal.throwIfAborted();
    const killed = qemu !== undefined && (await wasKilled(qemu));
    const output = qemu === undefined ? '' : quoteEnd((await qemu.stop(END_MS)).qemuMessages, QEMU_QUOTE);
    const said = output === '' ? '' : `; qemu output: ${output}`;
    throw new CloneFailed(`${messageOf(error)}${killed ? ', since qemu was killed' : said}`, { cause: error }, killed);
  }
}

/**
 * Restores a clone.
 * @param complete adds the drives to the command line, if they are already known
 * @throws what `complete` throws, GuestfsError if qemu does not start, CloneFailed, or the reason of the signal
 */
export async function restoreClone<Drives extends PreparedDrives | undefined>(
  { template, base, config }: Source,
  options: RestoreOptions,
  { signal, onConsole, onMessage }: LaunchOptions,
  complete: (line: QemuCommandLine, site: MachineSite) => Promise<Drives>,
): Promise<Clone<Drives>> {
  const { accelerator, qemuBinary } = base;
  const machine = await startMonitoredMachine({
    ...{ accelerator, qemuBinary, onConsole, signal },
    logger: options.logger.child({ session: config.session }),
    users: options.users,
    groups: base.kvmGroups,
    temporaryDirectory: config.temporaryDirectory,
    memsizeMb: config.memsizeMb,
    network: needsHostNetwork(config),
    guestNetwork: config.network,
    compose: async (line, site) => {
      addFdMonitor(line);
      const drives = await complete(line, site);
      site.undo.add('drives', () => drives?.dispose());
      const openedAt = performance.now();
      const bootFiles = await openBootFiles(base.appliance, site);
      // The template may have been retired since it was found.
      const state = await orCloneFailed(template.open('state'), signal);
      site.closeOnceStarted('state of the template', state);
      const overlay = await orCloneFailed(template.open('overlay'), signal);
      site.closeOnceStarted('overlay of the template', overlay);
      const name = `guestfs-${config.session.replace(/[^A-Za-z0-9_.-]/g, '_')}`;
      addTemplateMachine(line, config, {
        ...{ ...bootFiles, base, name },
        memory: template.files.memory,
        saved: { overlay },
        guestNetwork: site.guestNetwork,
      });
      return { drives, openedAt, stateFd: line.addDescriptor(state) };
    },
    onCommand: (command) => {
      reportCommand(command, { onMessage });
      // The console output of the boot belongs to the log of each clone.
      onConsole(template.facts.console);
    },
  });
  const { qemu, monitor, undo, parts, runDirectory, claims } = machine;
  const { drives, openedAt, stateFd } = parts;
  try {
    const connection = DaemonConnection.resume(qemu.daemon, { onProgress: () => undefined });
    await asPart(signal, { name: 'restore' }, () =>
      orCloneFailed(restoreState({ monitor, signal }, stateFd), signal, qemu),
    );
    return { drives, openedAt, qemu, monitor, connection, runDirectory, claims, undo };
  } catch (error) {
    await undo.run();
    signal.throwIfAborted();
    throw error;
  }
}
