/**
 * Makes a template. An appliance boots without drives until its daemon is up; one drive is
 * attached and let go, so that what the first drive brings with it is there; then the machine
 * is stopped, and its memory, its state and what it wrote to its root are what every clone
 * starts from.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { unlessAborted } from '../../common/waiting.js';
import { ConsoleLog } from '../../common/consoleLog.js';
import { messageOf } from '../../common/errors.js';
import { decodeGuestText } from '../../common/guestText.js';
import type { Logger } from '../../common/logger.js';
import { createMemoryFile, sealMemoryFiles } from '../../common/memoryFile.js';
import { createRunDirectory } from '../../common/tempDir.js';
import { writeEmptyQcow2 } from '../../images/emptyQcow2.js';
import { DaemonConnection } from '../../protocol/daemonConnection.js';
import { QemuCommandLine } from '../../qemu/commandLine.js';
import { startQemu, type QemuProcess } from '../../qemu/qemuProcess.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import type { QmpClient } from '../../qemu/qmpClient.js';
import { openBootFiles } from '../bootFiles.js';
import type { LaunchGround } from '../groundwork.js';
import { quoteEnd } from '../launchFailure.js';
import { connectMonitor, identityOf } from '../monitor.js';
import { Undo } from '../undo.js';
import { rehearsal } from '../guest/guestScripts.js';
import { saveState } from './migration.js';
import { rehearse } from './rehearse.js';
import { Template } from './template.js';
import type { TemplateConfig } from './templateKey.js';
import { addTemplateMachine } from './templateMachine.js';

/** How long qemu may take to end once its state is saved. */
const END_MS = 10_000;
const MEBIBYTE = 1 << 20;

/** What a template is made with. */
export interface MakerOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  readonly temporaryDirectory: string;
}

/**
 * Makes a template.
 * @param ground stays open until this has ended
 * @throws Error saying why this appliance, or this machine, cannot be saved
 */
export async function makeTemplate(
  key: string,
  config: TemplateConfig,
  ground: LaunchGround,
  options: MakerOptions,
  signal: AbortSignal,
): Promise<Template> {
  // Files in memory may be larger than it, and the guest would fill it with what it knows of its pages.
  if (config.memsizeMb * MEBIBYTE > totalmem())
    throw new Error(`this server has less memory than ${config.memsizeMb} MiB`);
  const started = performance.now();
  const undo = new Undo(options.logger);
  const kept: FileHandle[] = [];
  try {
    const memory = await createMemoryFile(config.memsizeMb * MEBIBYTE, signal);
    kept.push(memory);
    const overlay = await createMemoryFile(0, signal);
    kept.push(overlay);
    await writeEmptyQcow2(overlay, ground.appliance.rootImage.virtualSize);

    const user = await options.users.acquire();
    if (user !== undefined) undo.add('user', () => user.release());
    const runDirectory = await createRunDirectory(options.temporaryDirectory, user);
    undo.add('run directory', () => runDirectory.remove());
    const directory = await open(runDirectory.path, 'r');
    undo.add('descriptor of the run directory', () => directory.close());
    const bootFiles = await openBootFiles(ground.appliance, runDirectory, user !== undefined);
    undo.add('files of the appliance', () => bootFiles.close());

    const line = new QemuCommandLine(ground.qemuBinary);
    const qemuDirectory = line.addPlainFile(directory);
    addTemplateMachine(line, config, {
      ...bootFiles,
      overlay,
      ground,
      memory,
      name: `guestfs-template-${key}`,
      saved: undefined,
    });
    const console = new ConsoleLog();
    const qemu = await startQemu(line.build(), {
      user: user && identityOf(user, ground),
      runDirectory: runDirectory.path,
      onConsole: (bytes) => console.append(bytes),
    });
    undo.add('qemu', () => qemu.stop(0));
    await runDirectory.recordChild(qemu.pid);
    const monitor = await connectMonitor(qemu, config, ground, undefined, signal);
    await unlessEnded(qemu, () => decodeGuestText(console.tail()), prepareGuest(qemu, monitor, signal));

    await monitor.execute('stop', undefined, signal);
    const saved = await saveState({ monitor, signal }, { own: `/proc/self/fd/${directory.fd}`, qemu: qemuDirectory });
    await qemu.stop(END_MS);
    const state = await createMemoryFile(saved.length, signal);
    kept.push(state);
    await state.write(saved, 0, saved.length, 0);
    await sealMemoryFiles([memory, state, overlay], signal);

    options.logger.info('made a template', {
      template: key,
      memsizeMb: config.memsizeMb,
      accelerator: ground.accelerator,
      ms: Math.round(performance.now() - started),
    });
    return new Template(key, { memory, state, overlay }, { console: console.tail(), createdAt: Date.now() });
  } catch (error) {
    await Promise.all(kept.map((file) => file.close()));
    throw error;
  } finally {
    await undo.run();
  }
}

async function prepareGuest(qemu: QemuProcess, monitor: QmpClient, signal: AbortSignal): Promise<void> {
  const connection = new DaemonConnection(qemu.daemon, { onProgress: () => undefined });
  await unlessAborted(connection.awaitLaunch(), signal);
  await rehearse({ monitor, connection }, rehearsal(), signal);
}

/** What `work` gives; when qemu ends before, what it and the guest said. */
async function unlessEnded<Value>(qemu: QemuProcess, console: () => string, work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    const said = quoteEnd(qemu.messages(), 400);
    throw new Error(
      `${messageOf(error)}${said === '' ? '' : `; qemu said: ${said}`}; the console ended with: ${quoteEnd(console(), 400)}`,
      { cause: error },
    );
  }
}
