/** Boots an appliance from its kernel: finds it, opens the drives, and starts qemu; from then on it is the appliance that boots. */
import { badArgument } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { prepareDrives } from '../images/prepareDrives.js';
import { MAX_DRIVES } from '../qemu/limits.js';
import { addFdMonitor } from '../qemu/fdSender.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import type { ImageRoots } from '../security/pathPolicy.js';
import { openBootFiles } from './bootFiles.js';
import { addColdMachine } from './coldMachine.js';
import { createGroundwork, tellCommand, tellGround, type Groundwork } from './groundwork.js';
import type { LaunchConfig, Launcher, LaunchOptions, Machine } from './launcher.js';
import { createMachine } from './qemuMachine.js';
import { RunningDrives } from './runningDrives.js';
import { startMonitoredMachine } from './startMachine.js';

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
  const started = performance.now();
  const ground = await groundwork.lay(config, signal);
  try {
    const { accelerator, qemuBinary } = ground;
    const prepared = performance.now();
    tellGround(ground, config, { onMessage });
    const { parts, qemu, monitor, directory, runDirectory, uid, undo } = await startMonitoredMachine({
      ...{ logger, users, qemuBinary, accelerator, onConsole, signal },
      groups: ground.kvmGroups,
      temporaryDirectory: config.temporaryDirectory,
      memsizeMb: config.memsizeMb,
      compose: async (line, site) => {
        addFdMonitor(line, site.directory);
        const drives = await prepareDrives(config.drives, {
          ...{ qemuBinary, imageRoots, signal },
          runDirectory: site.runDirectory.path,
          fdSets: line,
          probe: groundwork.imageProbe,
        });
        site.undo.add('drives', () => drives.dispose());
        const opened = await openBootFiles(ground.appliance, site);
        addColdMachine(line, config, { ...ground, ...opened, drives: drives.drives });
        return { drives, openedAt: performance.now() };
      },
      onCommand: (command) => tellCommand(command, { onMessage }),
    });
    const { drives, openedAt } = parts;
    const timings = {
      prepareMs: Math.round(prepared - started),
      drivesMs: Math.round(openedAt - prepared),
      qemuMs: Math.round(performance.now() - openedAt),
    };
    logger.info('qemu started', {
      pid: qemu.pid,
      user: uid,
      accelerator,
      appliance: ground.appliance.directory,
      drives: config.drives.length,
      ...timings,
    });
    const facts = {
      ...{ accelerator, launchKind: 'cold' as const, timings, memsizeMb: config.memsizeMb },
      daemonVersion: ground.appliance.manifest?.daemonVersion,
      explainDrives: (messages: string) => drives.explain(messages),
      drives: new RunningDrives(
        {
          ...{ monitor, directory, qemuBinary, imageRoots },
          runDirectory: runDirectory.path,
          probe: groundwork.imageProbe,
        },
        { launched: drives.drives, filesGiven: 0 },
      ),
    };
    return createMachine(qemu, facts, undo);
  } finally {
    await ground.appliance.close();
  }
}
