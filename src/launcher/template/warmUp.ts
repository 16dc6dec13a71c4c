/** Warms up a running appliance: attaches a drive of zeros, runs a script that uses it, and detaches it. */
import type { DaemonConnection } from '../../protocol/daemonConnection.js';
import { driveProperties } from '../../qemu/applianceMachine.js';
import type { QmpClient } from '../../qemu/qmpClient.js';
import { unplug } from '../attachDrives.js';
import { runInAppliance } from '../appliance/applianceShell.js';

const NODE = 'warm-up';
/** Size of the drive, bytes. */
const SIZE = 64 << 20;

/**
 * Runs `script`, which discovers the drive and finally removes it from the kernel.
 * @throws GuestfsError with the script's output, QmpError, or the reason of `signal`
 */
export async function warmUp(
  { monitor, connection }: { readonly monitor: QmpClient; readonly connection: DaemonConnection },
  script: string,
  signal: AbortSignal,
): Promise<void> {
  await monitor.execute(
    'blockdev-add',
    { driver: 'null-co', 'node-name': NODE, size: SIZE, 'read-zeroes': true },
    signal,
  );
  const {
    serial: _serial,
    physical_block_size: _physical,
    logical_block_size: _logical,
    ...device
  } = driveProperties({ topNode: NODE, serial: undefined, blockSize: undefined }, 0);
  await monitor.execute('device_add', { driver: 'scsi-hd', ...device }, signal);
  await runInAppliance(connection, script, signal);
  await unplug(monitor, String(device['id']), signal);
  await monitor.execute('blockdev-del', { 'node-name': NODE }, signal);
}
