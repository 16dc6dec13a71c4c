/**
 * Boots an appliance from its kernel. The steps, each undone when a later one fails:
 * 1. find the appliance, decide between KVM and TCG;
 * 2. take a user and make a run directory;
 * 3. open the drives, make the overlay of the root;
 * 4. start qemu with all of them;
 * 5. wait for its monitor: from then on it is the guest that boots.
 */
import { open } from 'node:fs/promises';
import { badArgument } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { createRunDirectory } from '../common/tempDir.js';
import { prepareDrives } from '../images/prepareDrives.js';
import { MAX_DRIVES } from '../qemu/applianceMachine.js';
import { QemuCommandLine, shellCommand } from '../qemu/commandLine.js';
import { addFdMonitor } from '../qemu/fdSender.js';
import { startQemu } from '../qemu/qemuProcess.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import { openBootFiles } from './bootFiles.js';
import { addColdMachine } from './coldMachine.js';
import { createGroundwork, tellGround, type Groundwork } from './groundwork.js';
import type { LaunchConfig, Launcher, LaunchOptions, Machine } from './launcher.js';
import { connectMonitor, identityOf } from './monitor.js';
import { createMachine } from './qemuMachine.js';
import { RunningDrives } from './runningDrives.js';
import { Undo } from './undo.js';

/** What a cold launcher works with. */
export interface ColdLauncherOptions {
  readonly logger: Logger;
  readonly imageRoots: ImageRoots;
  readonly users: QemuUsers;
  /** Given when the server or another launcher uses it too. */
  readonly groundwork?: Groundwork;
}

/** Makes a launcher that boots. */
export function createColdLauncher(options: ColdLauncherOptions): Launcher {
  const groundwork = options.groundwork ?? createGroundwork(options);
  return { launch: (config, launch) => boot({ ...options, groundwork }, config, launch) };
}

async function boot(
  options: Required<ColdLauncherOptions>,
  config: LaunchConfig,
  { signal, onConsole, onMessage }: LaunchOptions,
): Promise<Machine> {
  if (config.drives.length > MAX_DRIVES) throw badArgument('drives', `a session can have at most ${MAX_DRIVES} drives`);
  const { groundwork, users, imageRoots } = options;
  const logger = options.logger.child({ session: config.session });
  const undo = new Undo(logger);
  try {
    const started = performance.now();
    const ground = await groundwork.lay(config, signal);
    undo.add('appliance', () => ground.appliance.close());
    const prepared = performance.now();
    tellGround(ground, config, { onMessage });

    const user = await users.acquire();
    if (user !== undefined) undo.add('user', () => user.release());
    const runDirectory = await createRunDirectory(config.temporaryDirectory, user);
    undo.add('run directory', () => runDirectory.remove());
    const directory = await open(runDirectory.path, 'r');
    undo.add('descriptor of the run directory', () => directory.close());

    const line = new QemuCommandLine(ground.qemuBinary);
    addFdMonitor(line, directory);
    const drives = await prepareDrives(config.drives, {
      runDirectory: runDirectory.path,
      qemuBinary: ground.qemuBinary,
      fdSets: line,
      imageRoots,
      signal,
      probe: groundwork.imageProbe,
    });
    undo.add('drives', () => drives.dispose());
    const opened = await openBootFiles(ground.appliance, runDirectory, user !== undefined);
    undo.add('files of the appliance', () => opened.close());
    addColdMachine(line, config, { ...ground, ...opened, drives: drives.drives });
    signal.throwIfAborted();
    const attached = performance.now();

    const command = line.build();
    onMessage?.('library', `launch: ${shellCommand([command.binary, ...command.args])}`);
    const qemu = await startQemu(command, {
      user: user && identityOf(user, ground),
      runDirectory: runDirectory.path,
      onConsole,
    });
    undo.add('qemu', () => qemu.stop(0));
    await runDirectory.recordChild(qemu.pid);
    await Promise.all([opened.close(), ground.appliance.close()]);
    const monitor = await connectMonitor(qemu, config, ground, drives, signal);
    // qemu has opened them; an image is free again when qemu ends only if nobody else holds it open.
    await drives.dispose();
    const timings = {
      prepareMs: Math.round(prepared - started),
      drivesMs: Math.round(attached - prepared),
      qemuMs: Math.round(performance.now() - attached),
    };
    logger.info('qemu started', {
      pid: qemu.pid,
      user: user?.uid,
      accelerator: ground.accelerator,
      appliance: ground.appliance.directory,
      drives: config.drives.length,
      ...timings,
    });
    const facts = {
      ...{ accelerator: ground.accelerator, launchKind: 'cold' as const, timings, memsizeMb: config.memsizeMb },
      daemonVersion: ground.appliance.manifest?.daemonVersion,
      explainDrives: (messages: string) => drives.explain(messages),
      drives: new RunningDrives(
        {
          monitor,
          directory,
          runDirectory: runDirectory.path,
          qemuBinary: ground.qemuBinary,
          imageRoots,
          probe: groundwork.imageProbe,
        },
        { launched: drives.drives, filesGiven: 0 },
      ),
    };
    return createMachine(qemu, facts, undo);
  } catch (error) {
    await undo.run();
    // What failed may have failed because of the abort.
    signal.throwIfAborted();
    throw error;
  }
}
