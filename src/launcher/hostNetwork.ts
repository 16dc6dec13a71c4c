/** Decides which machines get the network of this host: only those that need it, or may need it later. */
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
export type NetworkUse = Pick<LaunchConfig, 'network'> & Partial<Pick<LaunchConfig, 'drives' | 'extraQemuArguments'>>;

/** Whether a machine with these settings needs the host's network: for its user-mode network, or for qemu itself. */
export function needsHostNetwork(
  { network, drives = [], extraQemuArguments = [] }: NetworkUse,
  { remoteDrives = false }: NetworkPolicy,
): boolean {
  return (
    network ||
    // A process cannot get the network later.
    remoteDrives ||
    drives.some(({ source }) => source.kind === 'remote' && usesNetwork(source.remote)) ||
    extraQemuArguments.some(([name]) => NETWORK_OPTIONS.has(name.replace(/^-+/, '')))
  );
}
