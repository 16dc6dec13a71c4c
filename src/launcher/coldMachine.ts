/** The qemu command line of an appliance that is cold-booted. */
import type { OpenAppliance } from '../appliance/appliance.js';
import type { PreparedDrive } from '../images/prepareDrives.js';
import type { Accelerator } from '../qemu/accelerator.js';
import {
  addApplianceDevices,
  addBase,
  addConsole,
  addMonitor,
  addNetwork,
  addRoot,
  driveProperties,
} from '../qemu/applianceMachine.js';
import { hostArchitecture, type Architecture } from '../qemu/arch.js';
import type { QemuCommandLine } from '../qemu/commandLine.js';
import { kernelCommandLine } from '../qemu/kernelCommandLine.js';
import { canBeStartedWith } from './attachDrives.js';
import type { BootFiles } from './bootFiles.js';
import type { LaunchConfig } from './launcher.js';

/** Parts of the machine that are not in its configuration. */
export interface ColdMachineParts extends BootFiles {
  readonly accelerator: Accelerator;
  readonly appliance: Pick<OpenAppliance, 'root' | 'rootImage' | 'rootUuid'>;
  readonly drives: readonly PreparedDrive[];
  /** Of a session with a network; undefined: qemu does it. */
  readonly guestNetwork?: { readonly fd: number } | undefined;
  /** For tests; by default the one of this host. */
  readonly architecture?: Architecture;
}

/** Adds the options of the machine to a command line. */
export function addColdMachine(line: QemuCommandLine, config: LaunchConfig, parts: ColdMachineParts): void {
  const { accelerator, appliance, architecture = hostArchitecture() } = parts;
  addBase(line, { architecture, accelerator, memsizeMb: config.memsizeMb, smp: config.smp });
  line
    .option('name', `guestfs-${config.session.replace(/[^A-Za-z0-9_.-]/g, '_')}`)
    .option('kernel', line.addPlainFile(parts.kernel))
    .option('initrd', line.addPlainFile(parts.initrd))
    .option('append', kernelCommandLine({ ...config, architecture, accelerator, rootUuid: appliance.rootUuid }));
  addConsole(line);
  addMonitor(line);
  addApplianceDevices(line);
  addRoot(line, {
    image: line.add(appliance.root),
    format: appliance.rootImage.format,
    overlay: line.add(parts.overlay),
  });
  // The others are attached before the machine runs.
  if (!parts.drives.every(canBeStartedWith)) line.option('S');
  parts.drives.forEach((drive, index) => {
    if (!canBeStartedWith(drive)) return;
    for (const node of drive.blockNodes) line.blockNode(node);
    line.device('scsi-hd', driveProperties(drive, index));
  });
  if (config.network) addNetwork(line, parts.guestNetwork);
  // Last, since `-set` modifies options that precede it.
  for (const [name, value] of config.extraQemuArguments) line.option(name.replace(/^-/, ''), value);
}
