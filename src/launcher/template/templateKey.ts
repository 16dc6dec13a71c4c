/** What a template depends on: a machine of another kind needs a template of its own. */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import type { OpenAppliance } from '../../appliance/appliance.js';
import { hostArchitecture } from '../../qemu/arch.js';
import { kernelCommandLine } from '../../qemu/kernelCommandLine.js';
import { fingerprintOf } from '../../qemu/qemuBinary.js';
import type { PreflightResult } from '../preflight.js';
import type { LaunchConfig } from '../launcher.js';
import { rehearsal } from '../appliance/applianceScripts.js';

/** Raised when what is kept, or the machine, changes, so that older templates do not fit. */
const FORMAT = 1;

/** The settings that a template depends on. */
export type TemplateConfig = Pick<LaunchConfig, 'memsizeMb' | 'smp' | 'network' | 'selinux' | 'verbose' | 'append'>;

/** Kernel command line of a template: it is nobody's in particular. */
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

/** A name for all machines that can be cloned from one template. */
export async function templateKey(config: TemplateConfig, base: PreflightResult): Promise<string> {
  const { qemuBinary, appliance, accelerator } = base;
  const architecture = hostArchitecture();
  const facts = [
    FORMAT,
    rehearsal(),
    await fingerprintOf(qemuBinary),
    architecture.machine,
    architecture.cpu[accelerator],
    accelerator,
    config.memsizeMb,
    config.smp,
    config.network,
    templateCommandLine(config, base),
    await identityOf(appliance),
    // The processor that the appliance has found; with KVM the kernel's part of it, too.
    cpus()[0]?.model,
    accelerator === 'kvm' ? release() : '',
  ];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
}

/**
 * An appliance's contents: the hash that its manifest states, and of each file when and where
 * it was last changed, which also tells files that nobody made a manifest of.
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
