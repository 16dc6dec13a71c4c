/** Starts qemu with the state and the memory of a template. The guest stands still where it was saved. */
import { open, type FileHandle } from 'node:fs/promises';
import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { createRunDirectory, type RunDirectory } from '../../common/tempDir.js';
import type { PreparedDrives } from '../../images/prepareDrives.js';
import { DaemonConnection } from '../../protocol/daemonConnection.js';
import { QemuCommandLine, shellCommand } from '../../qemu/commandLine.js';
import { addFdMonitor } from '../../qemu/fdSender.js';
import { startQemu, type QemuProcess } from '../../qemu/qemuProcess.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import type { QmpClient } from '../../qemu/qmpClient.js';
import { openBootFiles } from '../bootFiles.js';
import type { LaunchGround } from '../groundwork.js';
import { QEMU_QUOTE, quoteEnd } from '../launchFailure.js';
import type { LaunchConfig, LaunchOptions } from '../launcher.js';
import { connectMonitor, identityOf } from '../monitor.js';
import { Undo } from '../undo.js';
import { restoreState } from './migration.js';
import type { Template } from './template.js';
import type { TemplateConfig } from './templateKey.js';
import { addTemplateMachine } from './templateMachine.js';

/** What a clone is restored from. */
export interface Source {
  readonly template: Template;
  /** Stays open until the clone is restored. */
  readonly ground: LaunchGround;
  readonly config: TemplateConfig & Pick<LaunchConfig, 'session' | 'temporaryDirectory'>;
}

/** What clones are started with. */
export interface RestoreOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
}

/** A restored machine, and all that it holds: to be given back by `undo`. */
export interface Clone<Drives = unknown> {
  /** What it was started with. */
  readonly drives: Drives;
  /** When these were open, on the clock of `performance`. */
  readonly openedAt: number;
  readonly qemu: QemuProcess;
  readonly monitor: QmpClient;
  readonly connection: DaemonConnection;
  readonly runDirectory: RunDirectory;
  /** The run directory, open. */
  readonly directory: FileHandle;
  readonly undo: Undo;
}

/** A clone could not be started, and not because of its drives: booting may still work. */
export class CloneFailed extends Error {
  override readonly name = 'CloneFailed';
}

/** How long a qemu that failed may take to end. */
const END_MS = 1000;

/**
 * What `work` gives; its failure has nothing to do with the drives.
 * @param qemu is ended then: of a state that it refuses it says more before it exits than by its monitor
 * @throws CloneFailed, or the reason of `signal`
 */
export async function orCloneFailed<Value>(
  work: Promise<Value>,
  signal: AbortSignal,
  qemu?: Pick<QemuProcess, 'stop'>,
): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    signal.throwIfAborted();
    const said = qemu === undefined ? '' : quoteEnd((await qemu.stop(END_MS)).qemuMessages, QEMU_QUOTE);
    throw new CloneFailed(`${messageOf(error)}${said === '' ? '' : `; qemu said: ${said}`}`, { cause: error });
  }
}

/**
 * Restores a clone.
 * @param complete adds to the command line: the drives, where they are known already
 * @throws what `complete` throws, GuestfsError of a qemu that does not start, CloneFailed, or the reason of the signal
 */
export async function restoreClone<Drives extends PreparedDrives | void>(
  { template, ground, config }: Source,
  options: RestoreOptions,
  { signal, onConsole, onMessage }: LaunchOptions,
  complete: (line: QemuCommandLine, runDirectory: RunDirectory) => Promise<Drives>,
): Promise<Clone<Drives>> {
  const undo = new Undo(options.logger.child({ session: config.session }));
  try {
    const user = await options.users.acquire();
    if (user !== undefined) undo.add('user', () => user.release());
    const runDirectory = await createRunDirectory(config.temporaryDirectory, user);
    undo.add('run directory', () => runDirectory.remove());
    const directory = await open(runDirectory.path, 'r');
    undo.add('descriptor of the run directory', () => directory.close());

    const line = new QemuCommandLine(ground.qemuBinary);
    addFdMonitor(line, directory);
    const drives = await complete(line, runDirectory);
    undo.add('drives', () => drives?.dispose());
    const openedAt = performance.now();
    const bootFiles = await openBootFiles(ground.appliance, runDirectory, user !== undefined);
    undo.add('files of the appliance', () => bootFiles.close());
    // Between finding a template and using it, it may have been given up.
    const state = await orCloneFailed(template.open('state'), signal);
    undo.add('state of the template', () => state.close());
    const overlay = await orCloneFailed(template.open('overlay'), signal);
    undo.add('overlay of the template', () => overlay.close());
    const name = `guestfs-${config.session.replace(/[^A-Za-z0-9_.-]/g, '_')}`;
    addTemplateMachine(line, config, { ...bootFiles, ground, memory: template.files.memory, name, saved: { overlay } });
    const stateFd = line.addDescriptor(state);
    signal.throwIfAborted();

    const command = line.build();
    onMessage?.('library', `launch: ${shellCommand([command.binary, ...command.args])}`);
    // What the appliance said while it booted belongs to the log of each clone.
    onConsole(template.facts.console);
    const qemu = await startQemu(command, {
      user: user && identityOf(user, ground),
      runDirectory: runDirectory.path,
      onConsole,
    });
    undo.add('qemu', () => qemu.stop(0));
    await runDirectory.recordChild(qemu.pid);
    await Promise.all([bootFiles.close(), state.close(), overlay.close()]);
    const monitor = await connectMonitor(qemu, config, ground, drives ?? undefined, signal);
    // qemu has opened them; an image is free again when qemu ends only if nobody else holds it open.
    await drives?.dispose();
    const connection = DaemonConnection.resume(qemu.daemon, { onProgress: () => undefined });
    await orCloneFailed(restoreState({ monitor, signal }, stateFd), signal, qemu);
    return { drives, openedAt, qemu, monitor, connection, runDirectory, directory, undo };
  } catch (error) {
    await undo.run();
    signal.throwIfAborted();
    throw error;
  }
}
