/** What a qemu gets in its jail, both for machines and for queries about images. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { CgroupLimits } from '../jail/cgroups.js';
import type { JailLimits, JailPlan, JailUser } from '../jail/jailArguments.js';
import {
  CEPH_FILES,
  findProgram,
  NETWORK_FILES,
  placesOf,
  SSH_FILES,
  type Place,
  type Program,
} from '../jail/programFiles.js';
import { KVM_DEVICE } from './kvmDevice.js';
import type { QemuCommand } from './commandLine.js';
import { fingerprintOf, locateQemu } from './qemuBinary.js';

/** Memory that a machine needs in addition to that of its guest, mostly for drivers of storage clusters. */
const EXTRA_MEMORY_MB = 8192;
const MEBIBYTE = 1 << 20;
/** Files of 255 drives with all their backing images, and sockets. */
const OPEN_FILES = 8192;
/** Threads for processors and I/O; libraries of storage clusters have dozens. */
const THREADS = 2048;

/** What qemu uses the host's network for: nothing, the network of its guest, or what its options ask for. */
export type QemuNetwork = 'none' | 'guest' | 'host';

/** What a machine's qemu is started with. */
export interface QemuJail {
  /** undefined: the server's user. */
  readonly user: JailUser | undefined;
  readonly runDirectory: string;
  readonly memsizeMb: number;
  readonly kvm: boolean;
  readonly network: QemuNetwork;
  /** It has no client's drives, and writes its state to a Unix socket. */
  readonly savesState?: boolean;
  /** The files that it writes to in order to enter its cgroups. */
  readonly cgroup: readonly string[];
}

/** What the processes of a machine may use together. */
export function cgroupLimits(memsizeMb: number): CgroupLimits {
  return { memory: (memsizeMb + EXTRA_MEMORY_MB) * MEBIBYTE, processes: THREADS };
}

/** The jail of a machine. */
export async function qemuPlan(
  { binary, args, reopened }: Pick<QemuCommand, 'binary' | 'args' | 'reopened'>,
  { user, runDirectory, memsizeMb, kvm, network, savesState = false, cgroup }: QemuJail,
): Promise<JailPlan> {
  const limits: JailLimits = {
    data: (memsizeMb + EXTRA_MEMORY_MB) * MEBIBYTE,
    openFiles: OPEN_FILES,
    // Not for the server's own user, whose other processes would count as well.
    ...(user === undefined ? {} : { processes: THREADS }),
  };
  return {
    ...{ program: await findQemu(binary), args, user, network: network !== 'none', limits, cgroup },
    unixSockets: savesState,
    // The kernel, and the memory of templates.
    proc: { reopens: reopened },
    directory: runDirectory,
    devices: kvm ? [KVM_DEVICE] : [],
    places: { none: () => [], guest: () => placesOf(['/etc/resolv.conf']), host: () => networkPlaces(user) }[network](),
  };
}

const known = new Map<string, { readonly fingerprint: string; readonly program: Program }>();

/**
 * Files of a qemu, by path or by name on the PATH; determined again if the binary has changed.
 * @throws GuestfsError `QEMU_MISSING`
 */
export async function findQemu(name: string): Promise<Program> {
  const binary = await locateQemu(name);
  const fingerprint = await fingerprintOf(binary);
  const before = known.get(binary);
  if (before?.fingerprint === fingerprint) return before.program;
  const program = await findProgram(binary, 'qemu');
  known.set(binary, { fingerprint, program });
  return program;
}

/**
 * Files that drivers of network drives read. Only those for SSH need keys and known hosts and, as the server's own user,
 * also find those of that user; and only those for Ceph need its keys.
 * @param protocol of the only drive; undefined: any
 */
export function networkPlaces(user: JailUser | undefined, protocol?: string): Place[] {
  const needs = (one: string): boolean => protocol === undefined || protocol === one;
  return placesOf([
    ...NETWORK_FILES,
    ...(needs('rbd') ? CEPH_FILES : []),
    ...(needs('ssh') ? [...SSH_FILES, ...(user === undefined ? ['/etc/passwd', join(homedir(), '.ssh')] : [])] : []),
  ]);
}
