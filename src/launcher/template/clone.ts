/**
 * Starts a machine from a template: the drives are attached while the restored appliance stands
 * still, and then the appliance looks for them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { GuestfsError, messageOf } from '../../common/errors.js';
import { withTimeLimit } from '../../common/waiting.js';
import { prepareDrives, type PreparedDrives } from '../../images/prepareDrives.js';
import type { ImageRoots } from '../../security/pathPolicy.js';
import type { LaunchPreflight } from '../preflight.js';
import type { LaunchConfig, LaunchOptions, LaunchTimings, Machine } from '../launcher.js';
import { attachDrives, type Attachment } from '../attachDrives.js';
import { createMachine } from '../qemuMachine.js';
import { RunningDrives } from '../runningDrives.js';
import { arrival, type Identity } from '../appliance/applianceScripts.js';
import { runInGuest } from '../appliance/applianceShell.js';
import { CloneFailed, orCloneFailed, restoreClone, type Clone, type RestoreOptions, type Source } from './restore.js';

/**
 * How long an appliance may take to arrive: many times what it takes on a busy machine under emulation, and less than
 * a session waits for a launch, so that there is time left to boot. Milliseconds; more for each drive.
 */
const ARRIVAL_LIMIT_MS = 60_000;
const LIMIT_FOR_A_DRIVE_MS = 1000;

/** What clones with drives are started with. */
export interface CloneOptions extends RestoreOptions {
  readonly imageRoots: ImageRoots;
  readonly preflight: Pick<LaunchPreflight, 'imageProbe'>;
}

/** A clone for a session. */
export interface CloneSource extends Source {
  readonly config: LaunchConfig;
  /** What it took to find the template. */
  readonly prepareMs: number;
}

/**
 * Starts a clone.
 * @throws GuestfsError what is wrong with the drives, CloneFailed, or the reason of the signal
 */
export async function startClone(source: CloneSource, options: CloneOptions, launch: LaunchOptions): Promise<Machine> {
  const { signal } = launch;
  const { config } = source;
  const started = performance.now();
  const clone = await restoreClone(source, options, launch, async (line, runDirectory) => {
    const prepared = await prepareDrives(config.drives, {
      runDirectory: runDirectory.path,
      qemuBinary: source.base.qemuBinary,
      fdSets: line,
      imageRoots: options.imageRoots,
      signal,
      probe: options.preflight.imageProbe,
    });
    for (const drive of prepared.drives) {
      for (const object of drive.objects) line.option('object', JSON.stringify(object));
      for (const node of drive.blockNodes) line.blockNode(node);
    }
    return prepared;
  });
  const { drives, openedAt } = clone;
  try {
    await attachToClone(clone, { prepared: drives, firstIndex: 0, nodes: 'started with nodes' }, signal);
    await arrive(clone, drives.drives.length, signal);
    const timings = {
      prepareMs: source.prepareMs,
      drivesMs: Math.round(openedAt - started),
      qemuMs: Math.round(performance.now() - openedAt),
    };
    options.logger.info('cloned', {
      session: config.session,
      pid: clone.qemu.pid,
      template: source.template.key,
      drives: config.drives.length,
      ...timings,
    });
    return machineOf(clone, source, { drives, timings, filesGiven: 0 }, options);
  } catch (error) {
    await clone.undo.run();
    signal.throwIfAborted();
    throw error;
  }
}

/**
 * Attaches a session's drives.
 * @throws GuestfsError what is wrong with a drive; CloneFailed, since what nobody can explain, booting may: it comes to
 *   the same as a boot that fails, or goes on; or the reason of `signal`
 */
export async function attachToClone(
  { monitor }: Pick<Clone, 'monitor'>,
  attachment: Attachment,
  signal: AbortSignal,
): Promise<void> {
  try {
    await attachDrives(monitor, attachment, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof GuestfsError) throw error;
    throw new CloneFailed(messageOf(error), { cause: error });
  }
}

/** What no other machine has. */
export function newIdentity(): Identity {
  return { time: Date.now() / 1000, machineId: randomBytes(16).toString('hex'), bootId: randomUUID() };
}

/**
 * Has the appliance go on, become a machine of its own, and look for its drives.
 * @param limitMs how long that may take
 * @throws CloneFailed, or the reason of the signal
 */
export async function arrive(
  { monitor, connection }: Pick<Clone, 'monitor' | 'connection'>,
  drives: number,
  signal: AbortSignal,
  limitMs = ARRIVAL_LIMIT_MS + drives * LIMIT_FOR_A_DRIVE_MS,
): Promise<void> {
  const late = (): Error => new Error(`the appliance did not find its drives within ${limitMs / 1000} s`);
  const work = withTimeLimit(limitMs, late, [signal], async (limited) => {
    await monitor.execute('cont', undefined, limited);
    await runInGuest(connection, arrival(newIdentity(), drives), limited);
  });
  await orCloneFailed(work, signal);
}

/** What became of a clone when it was given drives. */
export interface Equipped {
  readonly drives: PreparedDrives;
  readonly timings: LaunchTimings;
  /** How many files it was given since it was started. */
  readonly filesGiven: number;
}

/** The clone as the rest of the server sees it. */
export function machineOf(
  clone: Clone,
  { base, config }: Pick<Source, 'base' | 'config'>,
  { drives, timings, filesGiven }: Equipped,
  options: CloneOptions,
): Machine {
  const { qemu, connection, undo, monitor, runDirectory } = clone;
  return createMachine(
    qemu,
    {
      ...{
        accelerator: base.accelerator,
        launchKind: 'template' as const,
        timings,
        memsizeMb: config.memsizeMb,
        connection,
      },
      daemonVersion: base.appliance.manifest?.daemonVersion,
      explainDrives: (messages) => drives.explain(messages),
      drives: new RunningDrives(
        {
          monitor,
          files: qemu.files,
          runDirectory: runDirectory.path,
          qemuBinary: base.qemuBinary,
          imageRoots: options.imageRoots,
          probe: options.preflight.imageProbe,
        },
        { launched: drives.drives, filesGiven },
      ),
    },
    undo,
  );
}
