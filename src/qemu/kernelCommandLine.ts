/** The kernel command line of an appliance, as libguestfs's `init` and guestfsd expect it. */
import type { Accelerator } from './accelerator.js';
import type { Architecture } from './arch.js';

/** What the command line depends on. */
export interface KernelArguments {
  readonly architecture: Architecture;
  readonly accelerator: Accelerator;
  readonly rootUuid: string;
  readonly verbose: boolean;
  readonly network: boolean;
  readonly selinux: boolean;
  readonly identifier: string;
  readonly append: string | undefined;
}

/**
 * Arguments that reduce the work of an emulated processor. Measured with qemu 7.2 and a
 * Debian 13 appliance, without and with the two: appliance instructions until the daemon is up,
 * 2.69 G and 2.58 G; translated blocks, 323 k and 195 k; launch (median of 5, on a dedicated
 * processor), 7.5 s and 6.2 s; resident memory, 456 MB and 381 MB.
 * Tried without effect: mitigations=off, rcu_expedited, apparmor=0, audit=0, nr_cpus=1,
 * fewer udev workers. acpi=off would save as much as q35 does, but at the cost of the second processor.
 */
const EMULATED: readonly string[] = [
  // Without it, memory is zeroed on allocation, and again by code that needs it zeroed.
  'init_on_alloc=0',
  // Programs are always loaded at the same addresses, so that qemu can reuse translated code.
  // Under KVM, where attackers must be expected, addresses stay random.
  'norandmaps',
];

/** Joins the arguments; later ones take precedence. */
export function kernelCommandLine(options: KernelArguments): string {
  return [
    // With qemu's -no-reboot, qemu exits after a panic, and when the daemon exits.
    'panic=1',
    options.architecture.console,
    // Disables probes for what the machine does not have: BIOS disk data, lost timer ticks, USB, more serial ports.
    'edd=off',
    'no_timer_check',
    'usbcore.nousb',
    '8250.nr_uarts=1',
    'cryptomgr.notests',
    'tsc=reliable',
    'cgroup_disable=memory',
    // For slow hosts; the first is for old udev versions.
    'udevtimeout=6000',
    'udev.event-timeout=6000',
    'printk.time=1',
    ...(options.accelerator === 'tcg' ? EMULATED : []),
    `root=UUID=${options.rootUuid}`,
    options.selinux ? 'selinux=1 enforcing=0' : 'selinux=0',
    options.verbose ? 'guestfs_verbose=1' : 'quiet',
    ...(options.network ? ['guestfs_network=1'] : []),
    'TERM=linux',
    ...(options.identifier === '' ? [] : [`guestfs_identifier=${options.identifier.replace(/[^\x21-\x7e]/g, '_')}`]),
    ...(options.append === undefined || options.append === '' ? [] : [options.append]),
  ].join(' ');
}
