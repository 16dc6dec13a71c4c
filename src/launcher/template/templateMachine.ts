/**
 * The command line of a machine that is to be saved, and of one that is restored: the same
 * devices in the same order, as qemu requires, and no drives, which come later.
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

/** What the machine is made of besides its configuration. */
export interface TemplateMachineParts extends BootFiles {
  readonly base: PreflightResult;
  readonly name: string;
  /** Holds the appliance's memory, or what it starts from. */
  readonly memory: FileHandle;
  /** What a restored machine starts from; undefined: it boots. */
  readonly saved: { readonly overlay: FileHandle } | undefined;
}

/** Puts the machine on a command line. */
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
    // Not read by a restored machine, but part of what it is compared by.
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
  if (config.network) addNetwork(line);
  if (saved !== undefined) line.option('S').option('incoming', 'defer');
}
