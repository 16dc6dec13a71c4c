/** What differs between the processor architectures of hosts. */
import { arch } from 'node:os';
import { GuestfsError } from '../common/errors.js';

/** Facts of one architecture. */
export interface Architecture {
  /** As in `uname -m`. */
  readonly name: string;
  readonly qemuBinary: string;
  /** Machine type with its options. */
  readonly machine: string;
  /** Processor models. */
  readonly cpu: { readonly kvm: string; readonly tcg: string };
  /** Kernel argument of the serial console. */
  readonly console: string;
  /** Kernel argument that enables it from the first line on. */
  readonly earlyConsole: string;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: {
    name: 'x86_64',
    qemuBinary: 'qemu-system-x86_64',
    // Not qemu's default, pc, whose firmware tables take an emulated appliance 10 % of its boot to
    // interpret. Without what no appliance uses; a core dump without the appliance's memory.
    machine: 'q35,sata=off,smbus=off,usb=off,vmport=off,hpet=off,dump-guest-core=off',
    cpu: { kvm: 'max', tcg: 'max' },
    console: 'console=ttyS0',
    earlyConsole: 'edd=off earlyprintk=ttyS0',
  },
  arm64: {
    name: 'aarch64',
    qemuBinary: 'qemu-system-aarch64',
    machine: 'virt,gic-version=max,dump-guest-core=off',
    cpu: { kvm: 'host', tcg: 'max' },
    console: 'console=ttyAMA0',
    earlyConsole: 'earlycon=pl011,0x9000000',
  },
};

/** The architecture of this host, which appliances share. */
export function hostArchitecture(name: string = arch()): Architecture {
  const found = ARCHITECTURES[name];
  if (found === undefined)
    throw new GuestfsError('QEMU_MISSING', `processor architecture ${name} is not supported; x86_64 and aarch64 are`);
  return found;
}
