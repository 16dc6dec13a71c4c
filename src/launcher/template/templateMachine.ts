/**
 * The qemu command line of a machine that will be saved, and of one that is restored. Both have the same
 * devices in the same order, as qemu's migration requires, and no drives, which are attached later.
 */
import type { FileHandle } from 'node:fs/promises';
import {
  addApplianceDevices,
  addBase,
  addConsole,
  addGenerationId,
  addMonitor,
  addNetwork,
  addRoot,
} from '../../qemu/applianceMachine.js';
import { hostArchitecture } from '../../qemu/arch.js';
import type { QemuCommandLine } from '../../qemu/commandLine.js';
import type { BootFiles } from '../bootFiles.js';
import type { PreflightResult } from '../preflight.js';
import { templateCommandLine, type TemplateConfig } from './templateKey.js';

/** Parts of the machine that are not in its configuration. */
export interface TemplateMachineParts extends BootFiles {
  readonly base: PreflightResult;
  readonly name: string;
  /** Backs the appliance's memory; a restored machine maps it copy-on-write. */
  readonly memory: FileHandle;
  /** Of a restored machine with a network; undefined: qemu does it. */
  readonly guestNetwork?: { readonly fd: number } | undefined;
  /** The template's overlay, for a restored machine; undefined: it boots. */
  readonly saved: { readonly overlay: FileHandle } | undefined;
}

/** Adds the options of the machine to a command line. */
export function addTemplateMachine(line: QemuCommandLine, config: TemplateConfig, parts: TemplateMachineParts): void {
  const {
    base: { accelerator, appliance },
    saved,
  } = parts;
  const memory = {
    path: line.addPlainFile(parts.memory),
    use: saved === undefined ? ('written' as const) : ('copied on write' as const),
  };
  addBase(line, {
    architecture: hostArchitecture(),
    accelerator,
    memsizeMb: config.memsizeMb,
    smp: config.smp,
    memory,
  });
  line
    .option('name', parts.name)
    // A restored machine does not boot from these, but qemu checks that they match the saved state.
    .option('kernel', line.addPlainFile(parts.kernel))
    .option('initrd', line.addPlainFile(parts.initrd))
    .option('append', templateCommandLine(config, parts.base));
  addConsole(line);
  addMonitor(line);
  addApplianceDevices(line);
  addGenerationId(line);
  addRoot(line, {
    image: line.add(appliance.root),
    format: appliance.rootImage.format,
    overlay: line.add(parts.overlay),
    ...(saved === undefined ? {} : { savedOverlay: line.add(saved.overlay) }),
  });
  if (config.network) addNetwork(line, parts.guestNetwork);
  if (saved !== undefined) line.option('S').option('incoming', 'defer');
}
