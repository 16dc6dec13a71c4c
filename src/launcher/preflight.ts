/**
 * Preflight of a launch, be it a cold boot or a clone: locates qemu and the
 * appliance, chooses the accelerator, and provides the probe for foreign image formats.
 */
import { join } from 'node:path';
import { ApplianceChecksums } from '../appliance/checksums.js';
import { openAppliance, type Appliance, type OpenAppliance } from '../appliance/appliance.js';
import { locateAppliance } from '../appliance/locateAppliance.js';
import { createSuperminBuilder } from '../appliance/superminBuilder.js';
import { unlessAborted } from '../common/waiting.js';
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { asPart } from '../common/spans.js';
import { createForeignProbe, type ForeignImageProbe } from '../images/foreignProbe.js';
import type { Accelerator } from '../qemu/accelerator.js';
import { shellCommand, type QemuCommand } from '../qemu/commandLine.js';
import { findKvmDevice, groupsForKvm } from '../qemu/kvmDevice.js';
import { locateQemu } from '../qemu/qemuBinary.js';
import type { QemuUsers } from '../qemu/qemuUsers.js';
import { createAcceleratorProbe, type AcceleratorProbe } from './acceleratorProbe.js';
import { createKvmBootTest } from './kvmBootTest.js';
import type { LaunchConfig, LaunchOptions } from './launcher.js';

/** The parts of a configuration that a preflight depends on. */
export type PreflightConfig = Pick<
  LaunchConfig,
  'accelerator' | 'qemuBinary' | 'appliancePath' | 'temporaryDirectory' | 'cacheDirectory'
>;

/** The results of a preflight, on which a launch is based. */
export interface PreflightResult {
  /** Absolute path. */
  readonly qemuBinary: string;
  /** Open; closed by the caller. */
  readonly appliance: OpenAppliance;
  readonly accelerator: Accelerator;
  /** Why KVM was not chosen automatically; undefined if it was, or if the accelerator was forced. */
  readonly kvmUnusable: string | undefined;
  /** Groups that qemu's user needs for the accelerator. */
  readonly kvmGroups: readonly number[];
}

/** Checks and opens what launches need. The whole server shares one, since it caches its findings. */
export interface LaunchPreflight {
  /**
   * Finds the appliance (building it, for supermin) and decides on the accelerator.
   * The server calls it at startup, so the first session need not wait for it.
   * @throws GuestfsError `QEMU_MISSING`, `APPLIANCE_MISSING`, `APPLIANCE_UNUSABLE`, `NOT_ALLOWED`, `KVM_UNUSABLE`, or the reason of `signal`
   */
  run(config: PreflightConfig, signal: AbortSignal): Promise<PreflightResult>;
  /** Reads the size of images in formats that only qemu understands. */
  readonly imageProbe: ForeignImageProbe;
}

/** Reports to a session how its machine is configured, and the reason if it will be slow. */
export function reportPreflight(
  { accelerator, kvmUnusable }: PreflightResult,
  config: LaunchConfig,
  { onMessage }: Pick<LaunchOptions, 'onMessage'>,
): void {
  onMessage?.(
    'library',
    `launch: accelerator ${accelerator}, memory ${config.memsizeMb} MiB, processors ${config.smp}, drives ${config.drives.length}`,
  );
  if (kvmUnusable !== undefined)
    onMessage?.(
      'warning',
      `KVM is unusable on this server, so the appliance is emulated, which is several times slower: ${kvmUnusable}`,
    );
}

/** Reports to a session the command that starts its machine. */
export function reportCommand({ binary, args }: QemuCommand, { onMessage }: Pick<LaunchOptions, 'onMessage'>): void {
  onMessage?.('library', `launch: ${shellCommand([binary, ...args])}`);
}

/** What a preflight needs. */
export interface PreflightOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  /** The server's qemu, which reads the size of images; undefined: the host architecture's, found on the PATH. */
  readonly qemuBinary?: string | undefined;
  /** Search path of the server's own appliance, the only one built in the cache shared with libguestfs. */
  readonly appliancePath?: string;
  /** Whether sessions may use supermin appliances other than the server's own. */
  readonly anySkeleton?: boolean;
  /** Replaces the probe that boots a kernel; for tests. */
  readonly probe?: AcceleratorProbe;
}

/** Creates the preflight of a server. */
export function createPreflight({
  logger,
  users,
  qemuBinary: serversQemu,
  appliancePath: serversAppliance,
  anySkeleton = false,
  probe: given,
}: PreflightOptions): LaunchPreflight {
  const unprivileged = process.geteuid?.() === 0;
  const probe = given ?? createAcceleratorProbe({ logger, unprivileged, test: createKvmBootTest(users, logger) });
  const supermin = createSuperminBuilder(logger);
  const checksums = new ApplianceChecksums(logger);
  const announced = new Set<string>();

  const chooseAccelerator = async (
    config: PreflightConfig,
    qemuBinary: string,
    kernelPath: string,
  ): Promise<Pick<PreflightResult, 'accelerator' | 'kvmUnusable'>> => {
    if (config.accelerator === 'tcg') return { accelerator: 'tcg', kvmUnusable: undefined };
    const { usable, reason } = await probe.verdict({ ...config, qemuBinary, kernelPath });
    if (usable) return { accelerator: 'kvm', kvmUnusable: undefined };
    if (config.accelerator === 'kvm')
      throw new GuestfsError('KVM_UNUSABLE', `KVM is unusable on this server: ${reason}`);
    if (!announced.has(reason)) {
      announced.add(reason);
      logger.info('KVM is unusable: falling back to TCG', { reason });
    }
    return { accelerator: 'tcg', kvmUnusable: reason };
  };

  const run: LaunchPreflight['run'] = async (config, signal) => {
    const qemuBinary = await locateQemu(config.qemuBinary);
    const own = config.appliancePath === serversAppliance;
    const cache = {
      directory: config.cacheDirectory,
      place: own ? 'shared with libguestfs' : 'of the skeleton',
    } as const;
    const found = await locateAppliance(config.appliancePath, {
      supermin,
      cache: own || anySkeleton ? cache : undefined,
      signal,
    });
    const { accelerator, kvmUnusable } = await unlessAborted(
      chooseAccelerator(config, qemuBinary, join(found.directory, 'kernel')),
      signal,
    );
    const device = accelerator === 'kvm' && unprivileged ? await findKvmDevice() : undefined;
    const appliance = await openCurrent(found);
    try {
      await checksums.require(appliance, config.cacheDirectory);
    } catch (error) {
      await appliance.close();
      throw error;
    }
    return { qemuBinary, appliance, accelerator, kvmUnusable, kvmGroups: (device && groupsForKvm(device)) ?? [] };
  };
  return {
    run: (config, signal) => asPart(signal, { name: 'preflight' }, () => run(config, signal)),
    imageProbe: makeImageProbe(users, serversQemu),
  };
}

/** A supermin appliance can be replaced after it is located and before it is opened; a second try gets the new one. */
async function openCurrent(appliance: Appliance): Promise<OpenAppliance> {
  try {
    return await openAppliance(appliance);
  } catch (error) {
    if (appliance.kind !== 'supermin') throw error;
    return openAppliance(appliance);
  }
}

/** qemu is located only when a probe is needed. */
function makeImageProbe(users: QemuUsers, qemuBinary: string | undefined): ForeignImageProbe {
  let made: Promise<ForeignImageProbe> | undefined;
  const make = async (): Promise<ForeignImageProbe> =>
    createForeignProbe({ qemuBinary: await locateQemu(qemuBinary), users });
  return async (image, format, subject, signal) => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return (await made)(image, format, subject, signal);
  };
}
