/**
 * Decides which qemus get the network of this host: only those whose own options need it. For the network of guests, see
 * guestNetwork.ts; for drives on the network, images/remoteExport.ts.
 */
import type { LaunchConfig } from './launcher.js';

/** Options of qemu that add a network (`config` action). */
const NETWORK_OPTIONS: ReadonlySet<string> = new Set(['netdev', 'nic', 'net']);

/** The settings that decide; a clone for the pool has none of them. */
export type NetworkUse = Partial<Pick<LaunchConfig, 'extraQemuArguments'>>;

/** Whether the qemu of a machine with these settings needs the host's network. */
export function needsHostNetwork({ extraQemuArguments = [] }: NetworkUse): boolean {
  return extraQemuArguments.some(([name]) => NETWORK_OPTIONS.has(name.replace(/^-+/, '')));
}
