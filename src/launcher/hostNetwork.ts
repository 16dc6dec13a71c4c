/**
 * Decides which qemus get the network of this host: only those that need it, or may need it later. For the network of
 * guests, see guestNetwork.ts.
 */
import { usesNetwork } from '../images/remoteSource.js';
import type { LaunchConfig } from './launcher.js';

/** Options of qemu that add a network (`config` action). */
const NETWORK_OPTIONS: ReadonlySet<string> = new Set(['netdev', 'nic', 'net']);

/** What a launcher knows about all its machines. */
export interface NetworkPolicy {
  /** Whether sessions may have network drives, which can be added at any time; false by default. */
  readonly remoteDrives?: boolean;
}

/** The settings that decide; a clone for the pool has no drives yet. */
export type NetworkUse = Partial<Pick<LaunchConfig, 'drives' | 'extraQemuArguments'>>;

/** Whether the qemu of a machine with these settings needs the host's network. */
export function needsHostNetwork(
  { drives = [], extraQemuArguments = [] }: NetworkUse,
  { remoteDrives = false }: NetworkPolicy,
): boolean {
  return (
    // A running process cannot be given the network.
    remoteDrives ||
    drives.some(({ source }) => source.kind === 'remote' && usesNetwork(source.remote)) ||
    extraQemuArguments.some(([name]) => NETWORK_OPTIONS.has(name.replace(/^-+/, '')))
  );
}
