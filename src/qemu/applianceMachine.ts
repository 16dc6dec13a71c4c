/**
 * The parts of an appliance's machine, which launchers combine into qemu's
 * command line.
 */
import type { Accelerator } from './accelerator.js';
import type { Architecture } from './arch.js';
import { CHANNEL_FDS, type PropertyValue, type QemuCommandLine } from './commandLine.js';

/** ID of the bus that drives are attached to. */
export const SCSI_BUS = 'scsi0.0';

/** Name of the virtio-serial port that guestfsd uses. */
const DAEMON_PORT = 'org.libguestfs.channel.0';

/**
 * The processor model (max, qemu64, max without AVX), the size of the translation buffer and
 * the I/O method (ioeventfd on, off) make no measurable difference to the boot time. The size
 * is limited so that a long session does not fill qemu's default buffer of 1 GiB.
 */
const TCG = 'tcg,thread=multi,tb-size=256';

/** Processor, memory and accelerator. */
export interface BaseOptions {
  readonly architecture: Architecture;
  readonly accelerator: Accelerator;
  readonly memsizeMb: number;
  readonly smp: number;
  /** File of the size of the memory, mapped shared (`written`) or copy-on-write; without it, memory is anonymous. */
  readonly memory?: { readonly path: string; readonly use: 'written' | 'copied on write' };
}

/** A machine without devices, under qemu's seccomp sandbox. */
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

/** The random number generator, the controller for drives, and the daemon's port. */
export function addApplianceDevices(line: QemuCommandLine): void {
  line
    .option('object', 'rng-random,id=rng0,filename=/dev/urandom')
    .device('virtio-rng-pci', { rng: 'rng0' })
    // Without hotplug events: scripts tell the appliance which drives to discover, one after the other.
    // Events would arrive in any order, and be lost when more than eight are pending.
    .device('virtio-scsi-pci', { id: SCSI_BUS.replace(/\.0$/, ''), hotplug: false })
    .device('virtio-serial-pci')
    .option('chardev', `socket,id=daemon,fd=${CHANNEL_FDS.daemon}`)
    .device('virtserialport', { chardev: 'daemon', name: DAEMON_PORT });
}

/**
 * Reports I/O errors of the host to the appliance. By default, qemu would pause the machine when the host's
 * disk is full until it is resumed through the monitor, and the call in progress would never end.
 */
const REPORT_ERRORS = { werror: 'report', rerror: 'report' } as const;

/**
 * The network, on the addresses that libguestfs uses.
 * @param socket leads to the process that has them; undefined: qemu does it all itself
 */
export function addNetwork(line: QemuCommandLine, socket: { readonly fd: number } | undefined): void {
  const backend =
    socket === undefined ? 'user,id=network,net=169.254.0.0/16' : `socket,id=network,fd=${line.addDescriptor(socket)}`;
  line.option('netdev', backend).device('virtio-net-pci', { netdev: 'network' });
}

/** VM generation ID: when it changes in a clone, the appliance's kernel reseeds its random number generator. */
export function addGenerationId(line: QemuCommandLine): void {
  line.device('vmgenid', { guid: 'auto' });
}

/** An appliance's root: paths of the image, of the template's overlay if it is a clone, and of an empty overlay. */
export interface RootFiles {
  readonly image: string;
  readonly format: string;
  readonly savedOverlay?: string;
  readonly overlay: string;
}

/**
 * The appliance's root with an overlay that receives the writes. It is on virtio-blk, hence
 * `vda`, so that drives are `sda`, `sdb`, ... whenever they are attached.
 */
export function addRoot(line: QemuCommandLine, root: RootFiles): void {
  const throwaway = { cache: { direct: false, 'no-flush': true } };
  line
    // Nothing writes to it, so no lock is needed; read-only media may not support locks.
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

/** A drive's device, for the command line as well as for `device_add`. */
export interface DriveDevice {
  /** Block node that backs it. */
  readonly topNode: string;
  /** Label of the drive, in `/dev/disk/guestfs/` of the appliance. */
  readonly serial: string | undefined;
  readonly blockSize: number | undefined;
}

/** Properties of the `scsi-hd` device of the drive at `index`; the SCSI target determines the order of the names. */
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
