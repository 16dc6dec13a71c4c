/**
 * Starts a machine from a template: qemu restores the state, the memory is copied on write, the
 * drives are attached while the guest stands still, and the guest looks for them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Logger } from '../../common/logger.js';
import { createRunDirectory } from '../../common/tempDir.js';
import { prepareDrives, type PreparedDrive, type PreparedDrives } from '../../images/prepareDrives.js';
import { DaemonConnection } from '../../protocol/daemonConnection.js';
import { driveProperties } from '../../qemu/applianceMachine.js';
import { QemuCommandLine, shellCommand } from '../../qemu/commandLine.js';
import { startQemu } from '../../qemu/qemuProcess.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import { QmpError, type QmpClient } from '../../qemu/qmpClient.js';
import type { ImageRoots } from '../../security/pathPolicy.js';
import { openBootFiles } from '../bootFiles.js';
import type { Groundwork, LaunchGround } from '../groundwork.js';
import type { LaunchConfig, LaunchOptions, Machine } from '../launcher.js';
import { connectMonitor, identityOf } from '../monitor.js';
import { createMachine } from '../qemuMachine.js';
import { Undo } from '../undo.js';
import { arrival, type Identity } from './guestScripts.js';
import { runInGuest } from './guestShell.js';
import { restoreState } from './migration.js';
import type { Template } from './template.js';
import { addTemplateMachine } from './templateMachine.js';

/** What clones are started with. */
export interface CloneOptions {
  readonly logger: Logger;
  readonly imageRoots: ImageRoots;
  readonly users: QemuUsers;
  readonly groundwork: Pick<Groundwork, 'imageProbe'>;
}

/** A clone could not be started, and not because of its drives: booting may still work. */
export class CloneFailed extends Error {
  override readonly name = 'CloneFailed';
}

/**
 * Starts a clone; `ground` stays open until this has ended.
 * @throws GuestfsError what is wrong with the drives, CloneFailed, or the reason of the signal
 */
export async function startClone(
  template: Template, config: LaunchConfig, ground: LaunchGround, prepareMs: number, options: CloneOptions, launch: LaunchOptions,
): Promise<Machine> {
  const { signal, onConsole, onMessage } = launch;
  const logger = options.logger.child({ session: config.identifier });
  const undo = new Undo(logger);
  try {
    const started = performance.now();
    const user = await options.users.acquire();
    if (user !== undefined) undo.add('user', () => user.release());
    const runDirectory = await createRunDirectory(config.temporaryDirectory, user);
    undo.add('run directory', () => runDirectory.remove());

    const line = new QemuCommandLine(ground.qemuBinary);
    const prepared = await prepareDrives(config.drives, { runDirectory: runDirectory.path, fdSets: line, imageRoots: options.imageRoots, signal, probe: options.groundwork.imageProbe });
    undo.add('drives', () => prepared.dispose());
    const bootFiles = await openBootFiles(ground.appliance, runDirectory, user !== undefined);
    undo.add('files of the appliance', () => bootFiles.close());
    const [state, overlay] = [await template.open('state'), await template.open('overlay')];
    const closeTemplate = (): Promise<unknown> => Promise.all([state.close(), overlay.close()]);
    undo.add('files of the template', () => closeTemplate().catch(() => undefined));
    const name = `guestfs-${config.identifier.replace(/[^A-Za-z0-9_.-]/g, '_')}`;
    addTemplateMachine(line, config, { ...bootFiles, ground, memory: template.files.memory, name, saved: { overlay } });
    for (const drive of prepared.drives) for (const node of drive.blockNodes) line.blockNode(node);
    const stateFd = line.addDescriptor(state);
    signal.throwIfAborted();
    const attached = performance.now();

    const command = line.build();
    onMessage?.('library', `launch: ${shellCommand([command.binary, ...command.args])}`);
    // What the appliance said while it booted belongs to this session's log as well.
    onConsole(template.facts.console);
    const qemu = await startQemu(command, { user: user && identityOf(user, ground), runDirectory: runDirectory.path, onConsole });
    undo.add('qemu', () => qemu.stop(0));
    await runDirectory.recordChild(qemu.pid);
    await Promise.all([prepared.dispose(), bootFiles.close(), closeTemplate()]);
    const monitor = await connectMonitor(qemu, config, ground, prepared, signal);
    const connection = DaemonConnection.resume(qemu.daemon, { onProgress: () => undefined });
    await failing(restoreState({ monitor, signal }, stateFd), signal);
    await attachDrives(monitor, prepared, signal);
    await failing(monitor.execute('cont', undefined, signal).then(() => runInGuest(connection, arrival(newIdentity(), config.drives.length), signal)), signal);

    const timings = {
      prepareMs,
      drivesMs: Math.round(attached - started),
      qemuMs: Math.round(performance.now() - attached),
    };
    logger.info('cloned', { pid: qemu.pid, user: user?.uid, template: template.key, drives: config.drives.length, ...timings });
    const facts = {
      ...{ accelerator: ground.accelerator, launchKind: 'template' as const, timings, memsizeMb: config.memsizeMb, connection },
      daemonVersion: ground.appliance.manifest?.daemonVersion,
      explainDrives: (messages: string) => prepared.explain(messages),
    };
    return createMachine(qemu, facts, undo);
  } catch (error) {
    await undo.run();
    signal.throwIfAborted();
    throw error;
  }
}

/** Of what has nothing to do with the drives. */
async function failing<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    signal.throwIfAborted();
    throw new CloneFailed(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function attachDrives(monitor: QmpClient, prepared: PreparedDrives, signal: AbortSignal): Promise<void> {
  await Promise.all(prepared.drives.map(async (drive, index) => {
    try {
      await monitor.execute('device_add', { driver: 'scsi-hd', ...definedOnly(driveProperties(drive, index)) }, signal);
    } catch (error) {
      throw explained(error, drive, prepared);
    }
  }));
}

function explained(error: unknown, drive: PreparedDrive, prepared: PreparedDrives): unknown {
  return error instanceof QmpError ? prepared.explain(error.description, drive) ?? error : error;
}

function definedOnly(properties: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}

function newIdentity(): Identity {
  return { time: Date.now() / 1000, machineId: randomBytes(16).toString('hex'), bootId: randomUUID() };
}
