/**
 * Starts a machine from a template: the drives are attached while the restored machine is paused;
 * then it is resumed, and the appliance discovers them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { GuestfsError } from '../../common/errors.js';
import { asPart } from '../../common/spans.js';
import { withTimeLimit } from '../../common/waiting.js';
import { prepareDrives, type PreparedDrives } from '../../images/prepareDrives.js';
import type { LaunchPreflight } from '../preflight.js';
import type { LaunchConfig, LaunchOptions, LaunchTimings, Machine } from '../launcher.js';
import { attachDrives, canBeStartedWith, type Attachment } from '../attachDrives.js';
import { createMachine } from '../qemuMachine.js';
import { RunningDrives } from '../runningDrives.js';
import { resumeScript, type Identity } from '../appliance/applianceScripts.js';
import { runInAppliance } from '../appliance/applianceShell.js';
import { orCloneFailed, restoreClone, type Clone, type RestoreOptions, type Source } from './restore.js';

/**
 * Time limit for resuming a clone, milliseconds: many times what a busy host needs under emulation, but less than a
 * session waits for a launch, so that there is time left for a cold boot. Each drive adds to it.
 */
const RESUME_LIMIT_MS = 60_000;
const LIMIT_FOR_A_DRIVE_MS = 1000;

/** Options for starting clones with drives. */
export interface CloneOptions extends RestoreOptions {
  readonly preflight: Pick<LaunchPreflight, 'imageProbe'>;
}

/** A clone for a session. */
export interface CloneSource extends Source {
  readonly config: LaunchConfig;
  /** How long finding the template took. */
  readonly prepareMs: number;
}

/**
 * Starts a clone.
 * @throws GuestfsError for faulty drives, CloneFailed, or the reason of the signal
 */
export async function startClone(source: CloneSource, options: CloneOptions, launch: LaunchOptions): Promise<Machine> {
  const { signal } = launch;
  const { config } = source;
  const started = performance.now();
  const clone = await restoreClone(source, options, launch, async (line, site) => {
    const prepared = await prepareDrives(config.drives, {
      runDirectory: site.runDirectory.path,
      claims: site.claims,
      qemuBinary: source.base.qemuBinary,
      fdSets: line,
      signal,
      probe: options.preflight.imageProbe,
      disk: config.disk,
    });
    for (const drive of prepared.drives.filter(canBeStartedWith)) {
      for (const node of drive.blockNodes) line.blockNode(node);
    }
    return prepared;
  });
  const { drives, openedAt } = clone;
  try {
    await attachToClone(clone, { prepared: drives, firstIndex: 0, startedWith: 'nodes' }, signal);
    await resumeClone(clone, drives.drives.length, signal);
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
 * @throws GuestfsError for a drive with a known fault; CloneFailed for any other failure, since a cold boot may either
 *   succeed or explain it; or the reason of `signal`
 */
export async function attachToClone(
  { monitor, qemu }: Pick<Clone, 'monitor' | 'qemu'>,
  attachment: Attachment,
  signal: AbortSignal,
): Promise<void> {
  const attached = asPart(signal, { name: 'attach drives' }, () => attachDrives(monitor, attachment, signal));
  const aboutDrive = await attached.then(
    () => undefined,
    (error: unknown) => (error instanceof GuestfsError ? error : undefined),
  );
  if (aboutDrive === undefined) return orCloneFailed(attached, signal, qemu);
  signal.throwIfAborted();
  throw aboutDrive;
}

/** A unique identity. */
export function newIdentity(): Identity {
  return { time: Date.now() / 1000, machineId: randomBytes(16).toString('hex'), bootId: randomUUID() };
}

/**
 * Resumes the machine, gives the appliance its own identity, and makes it discover its drives.
 * @param limitMs how long that may take
 * @throws CloneFailed, or the reason of the signal
 */
export async function resumeClone(
  { monitor, connection, qemu }: Pick<Clone, 'monitor' | 'connection' | 'qemu'>,
  drives: number,
  signal: AbortSignal,
  limitMs = RESUME_LIMIT_MS + drives * LIMIT_FOR_A_DRIVE_MS,
): Promise<void> {
  const late = (): Error => new Error(`the appliance did not discover its drives within ${limitMs / 1000} s`);
  const work = withTimeLimit(limitMs, late, [signal], async (limited) => {
    await monitor.execute('cont', undefined, limited);
    await runInAppliance(connection, resumeScript(newIdentity(), drives), limited);
  });
  await asPart(signal, { name: 'resume' }, () => orCloneFailed(work, signal, qemu));
}

/** What changes when a clone gets its drives. */
export interface Equipped {
  readonly drives: PreparedDrives;
  readonly timings: LaunchTimings;
  /** How many files qemu was given after it was started. */
  readonly filesGiven: number;
}

/** Wraps a clone as the {@link Machine} that the rest of the server uses. */
export function machineOf(
  clone: Clone,
  { base, config }: Pick<CloneSource, 'base' | 'config'>,
  { drives, timings, filesGiven }: Equipped,
  options: CloneOptions,
): Machine {
  const { qemu, connection, undo, monitor, runDirectory, claims } = clone;
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
      monitor,
      drives: new RunningDrives(
        {
          monitor,
          claims,
          files: qemu.files,
          runDirectory: runDirectory.path,
          qemuBinary: base.qemuBinary,
          probe: options.preflight.imageProbe,
          disk: config.disk,
        },
        { launched: drives.drives, filesGiven },
      ),
    },
    undo,
  );
}
