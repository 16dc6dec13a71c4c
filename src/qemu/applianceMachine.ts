/**
 * The parts of a machine that runs an appliance: what every launcher puts on
 * qemu's command line, in pieces that can be combined.
 */
import type { Accelerator } from './accelerator.js';
import type { Architecture } from './arch.js';
import { CHANNEL_FDS, type PropertyValue, type QemuCommandLine } from './commandLine.js';

/** Id of the bus that drives are on. */
export const SCSI_BUS = 'scsi0.0';

/** Name of the port where guestfsd listens. */
const DAEMON_PORT = 'org.libguestfs.channel.0';

/**
 * No processor model (max, qemu64, max without AVX), no size of the code buffer and no
 * way of I/O (ioeventfd on, off) boots measurably faster than another. The bound keeps
 * a long session from filling qemu's default, a gigabyte, with code.
 */
const TCG = 'tcg,thread=multi,tb-size=256';

/** Processor, memory and what qemu may do. */
export interface BaseOptions {
  readonly architecture: Architecture;
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
  readonly smp: number;
  /** File of the size of the memory which holds, or starts, its contents; without it memory is qemu's own. */
  readonly memory?: { readonly path: string; readonly use: 'written' | 'copied on write' };
}

/** An empty machine under the system call filter. */
export function addBase(line: QemuCommandLine, options: BaseOptions): void {
  const { architecture, accelerator, memory } = options;
  line
    .option('no-user-config')
    .option('nodefaults')
    .option('display', 'none')
    .option('sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny')
    .option('machine', `${architecture.machine}${memory === undefined ? '' : ',memory-backend=ram'}`)
    .option('accel', accelerator === 'tcg' ? TCG : 'kvm')
    .option('cpu', architecture.cpu[accelerator])
    .option('smp', String(options.smp))
    .option('m', `${options.memsizeMb}M`)
    .option('no-reboot')
    .option('rtc', 'base=utc,driftfix=slew');
  if (memory !== undefined) {
    const backend = {
      id: 'ram',
      size: `${options.memsizeMb}M`,
      'mem-path': memory.path,
      share: memory.use === 'written',
    };
    line.properties('object', 'memory-backend-file', backend);
  }
}

/** The serial console. */
export function addConsole(line: QemuCommandLine): void {
  line.option('chardev', `socket,id=console,fd=${CHANNEL_FDS.console}`).option('serial', 'chardev:console');
}

/** The monitor. */
export function addMonitor(line: QemuCommandLine): void {
  line.option('chardev', `socket,id=monitor,fd=${CHANNEL_FDS.monitor}`).option('mon', 'chardev=monitor,mode=control');
}

/** Random numbers, the controller for drives, the daemon's port. */
export function addApplianceDevices(line: QemuCommandLine): void {
  line
    .option('object', 'rng-random,id=rng0,filename=/dev/urandom')
    .device('virtio-rng-pci', { rng: 'rng0' })
    // Without the events that announce new drives: the appliance is told which to look for, one after
    // the other. Events would come in any order, and beyond eight of them be lost.
    .device('virtio-scsi-pci', { id: SCSI_BUS.replace(/\.0$/, ''), hotplug: false })
    .device('virtio-serial-pci')
    .option('chardev', `socket,id=daemon,fd=${CHANNEL_FDS.daemon}`)
    .device('virtserialport', { chardev: 'daemon', name: DAEMON_PORT });
}

/**
 * Errors of the host's disk become errors of the appliance's. qemu would stop the appliance instead when
 * the host's disk is full, to be continued by somebody who made room: here a call without an end.
 */
const REPORT_ERRORS = { werror: 'report', rerror: 'report' } as const;

/** User-mode network, on the addresses that libguestfs uses. */
export function addNetwork(line: QemuCommandLine): void {
  line.option('netdev', 'user,id=network,net=169.254.0.0/16').device('virtio-net-pci', { netdev: 'network' });
}

/** Tells the appliance's kernel when it has become another machine: it then takes new random numbers. */
export function addGenerationId(line: QemuCommandLine): void {
  line.device('vmgenid', { guid: 'auto' });
}

/** An appliance's root: paths of the image, of an overlay that was written before, and of an empty one. */
export interface RootFiles {
  readonly image: string;
  readonly format: string;
  readonly savedOverlay?: string;
  readonly overlay: string;
}

/**
 * The appliance's root with an overlay that takes the writes. On virtio-blk: it is
 * `vda`, and drives are `sda`, `sdb`, ... whenever they come.
 */
export function addRoot(line: QemuCommandLine, root: RootFiles): void {
  const throwaway = { cache: { direct: false, 'no-flush': true } };
  line
    // Nobody writes to it: no lock is needed, and read-only media have none to give.
    .blockNode({
      driver: 'file',
      'node-name': 'root-file',
      filename: root.image,
      'read-only': true,
      locking: 'off',
      ...throwaway,
    })
    .blockNode({
      driver: root.format,
      'node-name': 'root-image',
      file: 'root-file',
      'read-only': true,
      ...(root.format === 'qcow2' ? { backing: null } : {}),
      ...throwaway,
    });
  if (root.savedOverlay !== undefined) {
    line
      .blockNode({
        driver: 'file',
        'node-name': 'root-saved-file',
        filename: root.savedOverlay,
        'read-only': true,
        locking: 'off',
        ...throwaway,
      })
      .blockNode({
        driver: 'qcow2',
        'node-name': 'root-saved',
        file: 'root-saved-file',
        backing: 'root-image',
        'read-only': true,
        ...throwaway,
      });
  }
  line
    .blockNode({ driver: 'file', 'node-name': 'root-overlay', filename: root.overlay, locking: 'off', ...throwaway })
    .blockNode({
      driver: 'qcow2',
      'node-name': 'root',
      file: 'root-overlay',
      backing: root.savedOverlay === undefined ? 'root-image' : 'root-saved',
      ...throwaway,
    })
    .device('virtio-blk-pci', { drive: 'root', ...REPORT_ERRORS });
}

/** A drive's device, for the command line and for `device_add` alike. */
export interface DriveDevice {
  /** Node that it shows. */
  readonly topNode: string;
  /** Label of the drive, in `/dev/disk/guestfs/` of the appliance. */
  readonly serial: string | undefined;
  readonly blockSize: number | undefined;
}

/** Properties of the `scsi-hd` device of the drive at `index`; the target's number fixes the order of the names. */
export function driveProperties(drive: DriveDevice, index: number): Record<string, PropertyValue | undefined> {
  return {
    bus: SCSI_BUS,
    channel: 0,
    'scsi-id': index,
    lun: 0,
    drive: drive.topNode,
    id: `sd${index}`,
    serial: drive.serial,
    physical_block_size: drive.blockSize,
    logical_block_size: drive.blockSize,
    ...REPORT_ERRORS,
  };
}
