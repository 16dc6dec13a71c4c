/** The key of a template: a digest of everything it depends on. Machines with another key need another template. */
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { arch, cpus, release } from 'node:os';
import { APPLIANCE_FILES, type OpenAppliance } from '../../appliance/appliance.js';
import { hostArchitecture } from '../../qemu/arch.js';
import { kernelCommandLine } from '../../qemu/kernelCommandLine.js';
import { fingerprintOf } from '../../qemu/qemuBinary.js';
import type { PreflightResult } from '../preflight.js';
import type { LaunchConfig } from '../launcher.js';
import { warmUpScript } from '../appliance/applianceScripts.js';

/** Incremented when the stored files or the machine change, so that older templates are not used. */
const FORMAT = 1;
/** Differences between hosts' clock rates that do not matter, in BogoMIPS: half a percent of a usual rate. */
const RATE_STEP = 25;

/** The settings that a template depends on. */
export type TemplateConfig = Pick<LaunchConfig, 'memsizeMb' | 'smp' | 'network' | 'selinux' | 'verbose' | 'append'>;

/** Kernel command line of a template, without the identifier of a handle. */
export function templateCommandLine(config: TemplateConfig, base: PreflightResult): string {
  const { accelerator, appliance } = base;
  return kernelCommandLine({
    ...config,
    accelerator,
    architecture: hostArchitecture(),
    rootUuid: appliance.rootUuid,
    identifier: '',
  });
}

/** The key of the template for machines with these settings. */
export async function templateKey(config: TemplateConfig, base: PreflightResult): Promise<string> {
  return keyOf(config, base, [await fingerprintOf(base.qemuBinary), await identityOf(base.appliance)]);
}

/**
 * The key of the same template where it may have been made on another host: instead of the identities of files it
 * depends on their contents. Undefined for an appliance whose manifest does not state them.
 */
export async function portableKey(config: TemplateConfig, base: PreflightResult): Promise<string | undefined> {
  const { appliance, qemuBinary } = base;
  const checksums = APPLIANCE_FILES.map((name) => appliance.manifest?.checksums.get(name));
  if (checksums.includes(undefined)) return undefined;
  return keyOf(config, base, [await contentsOf(qemuBinary), checksums, clockRate()]);
}

function keyOf(config: TemplateConfig, { accelerator, ...base }: PreflightResult, files: readonly unknown[]): string {
  const architecture = hostArchitecture();
  const facts = [
    FORMAT,
    warmUpScript(),
    architecture.machine,
    architecture.cpu[accelerator],
    accelerator,
    config.memsizeMb,
    config.smp,
    config.network,
    templateCommandLine(config, { ...base, accelerator }),
    files,
    // The host's processor, which the appliance has detected; with KVM, also the host's kernel.
    cpus()[0]?.model,
    accelerator === 'kvm' ? release() : '',
  ];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
}

/** Digests of qemu's binaries, by fingerprint. */
const digests = new Map<string, string>();

async function contentsOf(qemuBinary: string): Promise<string> {
  const fingerprint = await fingerprintOf(qemuBinary);
  const known = digests.get(fingerprint);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  for await (const part of createReadStream(qemuBinary)) hash.update(part as Buffer);
  const digest = hash.digest('hex');
  digests.set(fingerprint, digest);
  return digest;
}

/**
 * The rate of the host's time stamp counter, which an emulated processor shares: a saved appliance goes on counting at
 * the rate that it has measured when it booted, so its clock would be wrong on a host with another. Linux states twice
 * the rate as BogoMIPS, the same but for a small error of measurement. On other architectures than x86-64 an emulated
 * counter has a fixed rate.
 */
function clockRate(): number | undefined {
  const stated = /^bogomips\s*: ([\d.]+)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1];
  return arch() === 'x64' && stated !== undefined ? Math.round(Number(stated) / RATE_STEP) : undefined;
}

/**
 * Identifies an appliance's contents: the hash in its manifest, and the inode and modification time of each
 * file, which also covers appliances without a manifest.
 */
async function identityOf(appliance: OpenAppliance): Promise<unknown> {
  const changed = async (file: FileHandle): Promise<string> => {
    const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(':');
  };
  return [
    appliance.manifest?.inputsHash,
    await Promise.all([appliance.kernel, appliance.initrd, appliance.root].map(changed)),
  ];
}
