/** The key of a template: a digest of everything it depends on. Machines with another key need another template. */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import type { OpenAppliance } from '../../appliance/appliance.js';
import { hostArchitecture } from '../../qemu/arch.js';
import { kernelCommandLine } from '../../qemu/kernelCommandLine.js';
import { fingerprintOf } from '../../qemu/qemuBinary.js';
import type { PreflightResult } from '../preflight.js';
import type { LaunchConfig } from '../launcher.js';
import { warmUpScript } from '../appliance/applianceScripts.js';

/** Incremented when the stored files or the machine change, so that older templates are not used. */
const FORMAT = 1;

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
  const { qemuBinary, appliance, accelerator } = base;
  const architecture = hostArchitecture();
  const facts = [
    FORMAT,
    warmUpScript(),
    await fingerprintOf(qemuBinary),
    architecture.machine,
    architecture.cpu[accelerator],
    accelerator,
    config.memsizeMb,
    config.smp,
    config.network,
    templateCommandLine(config, base),
    await identityOf(appliance),
    // The host's processor, which the appliance has detected; with KVM, also the host's kernel.
    cpus()[0]?.model,
    accelerator === 'kvm' ? release() : '',
  ];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
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
