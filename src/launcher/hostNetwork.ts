/** Which machines get the network of this host: those that have something to do there, and no others. */
import { GuestfsError } from '../common/errors.js';
import type { Drive } from '../images/drive.js';
import { remoteSubject, usesNetwork } from '../images/remoteSource.js';
import { findIsolation } from '../jail/isolation.js';
import type { LaunchConfig } from './launcher.js';

/** Options of qemu by which a network is added (`config` action). */
const NETWORK_OPTIONS: ReadonlySet<string> = new Set(['netdev', 'nic', 'net']);

/** What decides; a clone for the pool has no drives yet, and must then do without what they would need. */
export type NetworkUse = Pick<LaunchConfig, 'network'> & Partial<Pick<LaunchConfig, 'drives' | 'extraQemuArguments'>>;

/** Whether a machine with these settings needs the host's network: for its user-mode network, or for qemu itself. */
export function needsHostNetwork({ network, drives = [], extraQemuArguments = [] }: NetworkUse): boolean {
  return (
    network ||
    drives.some(isOverNetwork) ||
    extraQemuArguments.some(([name]) => NETWORK_OPTIONS.has(name.replace(/^-+/, '')))
  );
}

/**
 * Checks that a machine that runs can reach a drive: it cannot be given the network later.
 * @throws GuestfsError `ENOTSUP`
 */
export async function checkReachable({ source }: Drive, machineHasNetwork: boolean): Promise<void> {
  if (source.kind !== 'remote' || !usesNetwork(source.remote) || machineHasNetwork) return;
  if ((await findIsolation()).kind === 'none') return;
  throw new GuestfsError(
    'ENOTSUP',
    `${remoteSubject(source.remote)} cannot be attached: this session was launched without a network drive and with network off, so its qemu has no network; add the drive before the launch`,
  );
}

function isOverNetwork({ source }: Drive): boolean {
  return source.kind === 'remote' && usesNetwork(source.remote);
}
