/**
 * Preflight of a launch, whether it boots or restores: it finds the qemu, the
 * appliance, the accelerator, and the probe for images of other formats.
 */
import { join } from 'node:path';
import { ApplianceChecksums } from '../appliance/checksums.js';
import { openAppliance, type Appliance, type OpenAppliance } from '../appliance/appliance.js';
import { locateAppliance } from '../appliance/locateAppliance.js';
import { createSuperminBuilder } from '../appliance/superminBuilder.js';
import { unlessAborted } from '../common/waiting.js';
import { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
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

/** What a launch is based on. */
export interface PreflightResult {
  /** Absolute path. */
  readonly qemuBinary: string;
  /** Open; to be closed by who asked. */
  readonly appliance: OpenAppliance;
  readonly accelerator: Accelerator;
  /** Why it is not KVM, which was left to the launcher; undefined: it is, or it was not. */
  readonly kvmUnusable: string | undefined;
  /** Groups that qemu's user needs for the accelerator. */
  readonly kvmGroups: readonly number[];
}

/** Checks and opens what launches need. One for the whole server: what it finds out, it finds out once. */
export interface LaunchPreflight {
  /**
   * Finds the appliance (building it, for supermin) and decides on the accelerator.
   * Called early by the server, it spares the first session the wait.
   * @throws GuestfsError `QEMU_MISSING`, `APPLIANCE_MISSING`, `APPLIANCE_UNUSABLE`, `NOT_ALLOWED`, `KVM_UNUSABLE`, or the reason of `signal`
   */
  run(config: PreflightConfig, signal: AbortSignal): Promise<PreflightResult>;
  /** Measures images in formats that only qemu understands. */
  readonly imageProbe: ForeignImageProbe;
}

/** Tells a session what its machine is like, and what makes it slow. */
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
      `KVM does not work on this server, so the appliance is emulated and several times slower: ${kvmUnusable}`,
    );
}

/** Tells a session the command that its machine is started with. */
export function reportCommand({ binary, args }: QemuCommand, { onMessage }: Pick<LaunchOptions, 'onMessage'>): void {
  onMessage?.('library', `launch: ${shellCommand([binary, ...args])}`);
}

/** What a preflight works with. */
export interface PreflightOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  /** The server's qemu, by which images are measured; undefined: the one of the architecture on the PATH. */
  readonly qemuBinary?: string | undefined;
  /** Where the server looks for its own appliance: libguestfs's cache has it, and no other. */
  readonly appliancePath?: string;
  /** Lets sessions have supermin appliances that are not the server's own. */
  readonly anySkeleton?: boolean;
  /** Instead of one that boots; for tests. */
  readonly probe?: AcceleratorProbe;
}

/** Makes the preflight of a server. */
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
      throw new GuestfsError('KVM_UNUSABLE', `KVM does not work on this server: ${reason}`);
    if (!announced.has(reason)) {
      announced.add(reason);
      logger.info('KVM does not work here, TCG is used', { reason });
    }
    return { accelerator: 'tcg', kvmUnusable: reason };
  };

  return {
    run: async (config, signal) => {
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
    },
    imageProbe: makeImageProbe(users, serversQemu),
  };
}

/** A supermin appliance can be replaced between the look and the open; a second try gets the new one. */
async function openCurrent(appliance: Appliance): Promise<OpenAppliance> {
  try {
    return await openAppliance(appliance);
  } catch (error) {
    if (appliance.kind !== 'supermin') throw error;
    return openAppliance(appliance);
  }
}

/** All probes share one user: each is without rights, and over in a moment. qemu is looked for only when one is needed. */
function makeImageProbe(users: QemuUsers, qemuBinary: string | undefined): ForeignImageProbe {
  let made: Promise<ForeignImageProbe> | undefined;
  const make = async (): Promise<ForeignImageProbe> =>
    createForeignProbe({ qemuBinary: await locateQemu(qemuBinary), user: await users.acquire() });
  return async (image, format, subject, signal) => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return (await made)(image, format, subject, signal);
  };
}
