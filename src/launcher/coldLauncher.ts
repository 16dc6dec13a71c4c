/** Cold boot: finds the appliance, opens the drives, and starts qemu, which boots the appliance's kernel. */
import { badArgument, GuestfsError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { prepareDrives, type PreparedDrives } from '../images/prepareDrives.js';
import { MAX_DRIVES } from '../qemu/limits.js';
import { addFdMonitor } from '../qemu/fdSender.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import { openBootFiles } from './bootFiles.js';
import { AFTER_BOOT_SCRIPT } from './appliance/applianceScripts.js';
import { attachDrives, canBeStartedWith } from './attachDrives.js';
import { addColdMachine } from './coldMachine.js';
import { needsHostNetwork } from './hostNetwork.js';
import { createPreflight, reportCommand, reportPreflight, type LaunchPreflight } from './preflight.js';
import type { LaunchConfig, Launcher, LaunchOptions, Machine } from './launcher.js';
import { createMachine } from './qemuMachine.js';
import { RunningDrives } from './runningDrives.js';
import { startMonitoredMachine, type MonitoredMachine } from './startMachine.js';

/** What a cold launcher needs. */
export interface ColdLauncherOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  /** Given if the server or another launcher shares it. */
  readonly preflight?: LaunchPreflight;
}

/** Creates a launcher that cold-boots every appliance. */
export function createColdLauncher(options: ColdLauncherOptions): Launcher {
  const preflight = options.preflight ?? createPreflight(options);
  return { launch: (config, launch) => boot({ ...options, preflight }, config, launch) };
}

async function boot(
  options: ColdLauncherOptions & { readonly preflight: LaunchPreflight },
  config: LaunchConfig,
  { signal, onConsole, onMessage }: LaunchOptions,
): Promise<Machine> {
  if (config.drives.length > MAX_DRIVES) throw badArgument('drives', `a session can have at most ${MAX_DRIVES} drives`);
  const { preflight, users } = options;
  const logger = options.logger.child({ session: config.session });
  const started = performance.now();
  const base = await preflight.run(config, signal);
  try {
    const { accelerator, qemuBinary } = base;
    const prepared = performance.now();
    reportPreflight(base, config, { onMessage });
    const { parts, qemu, monitor, runDirectory, claims, uid, undo } = await startMonitoredMachine({
      ...{ logger, users, qemuBinary, accelerator, onConsole, signal },
      groups: base.kvmGroups,
      temporaryDirectory: config.temporaryDirectory,
      memsizeMb: config.memsizeMb,
      network: needsHostNetwork(config),
      guestNetwork: config.network,
      compose: async (line, site) => {
        addFdMonitor(line);
        const drives = await prepareDrives(config.drives, {
          ...{ qemuBinary, signal },
          claims: site.claims,
          runDirectory: site.runDirectory.path,
          fdSets: line,
          probe: preflight.imageProbe,
          disk: config.disk,
        });
        site.undo.add('drives', () => drives.dispose());
        const opened = await openBootFiles(base.appliance, site);
        addColdMachine(line, config, { ...base, ...opened, drives: drives.drives, guestNetwork: site.guestNetwork });
        return { drives, openedAt: performance.now() };
      },
      onCommand: (command) => reportCommand(command, { onMessage }),
    });
    const { drives, openedAt } = parts;
    if (!drives.drives.every(canBeStartedWith)) await attachAndRun({ monitor, undo, drives }, signal);
    const timings = {
      prepareMs: Math.round(prepared - started),
      drivesMs: Math.round(openedAt - prepared),
      qemuMs: Math.round(performance.now() - openedAt),
    };
    logger.info('qemu started', {
      pid: qemu.pid,
      user: uid,
      accelerator,
      appliance: base.appliance.directory,
      drives: config.drives.length,
      ...timings,
    });
    const facts = {
      ...{ accelerator, launchKind: 'cold' as const, timings, memsizeMb: config.memsizeMb },
      daemonVersion: base.appliance.manifest?.daemonVersion,
      afterBoot: config.drives.length > 0 ? AFTER_BOOT_SCRIPT : undefined,
      explainDrives: (messages: string) => drives.explain(messages),
      monitor,
      drives: new RunningDrives(
        {
          ...{ monitor, claims, qemuBinary, files: qemu.files },
          runDirectory: runDirectory.path,
          probe: preflight.imageProbe,
          disk: config.disk,
        },
        { launched: drives.drives, filesGiven: 0 },
      ),
    };
    return createMachine(qemu, facts, undo);
  } finally {
    await base.appliance.close();
  }
}

/** Attaches the drives that are not on the command line, and lets the machine run. If that fails, it is ended. */
async function attachAndRun(
  { monitor, undo, drives }: Pick<MonitoredMachine<unknown>, 'monitor' | 'undo'> & { readonly drives: PreparedDrives },
  signal: AbortSignal,
): Promise<void> {
  try {
    await attachDrives(monitor, { prepared: drives, firstIndex: 0, startedWith: 'devices' }, signal);
    await monitor.execute('cont', undefined, signal);
  } catch (error) {
    await undo.run();
    signal.throwIfAborted();
    if (error instanceof GuestfsError) throw error;
    throw new GuestfsError('QEMU_FAILED', `the drives cannot be attached: ${messageOf(error)}`, { cause: error });
  }
}
