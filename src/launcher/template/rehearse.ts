/** Attaches a drive of zeros to a running machine, has the appliance do something with it, and takes it away. */
import type { DaemonConnection } from '../../protocol/daemonConnection.js';
import { driveProperties } from '../../qemu/applianceMachine.js';
import type { QmpClient } from '../../qemu/qmpClient.js';
import { unplug } from '../attachDrives.js';
import { runInGuest } from '../appliance/applianceShell.js';

const NODE = 'rehearsal';
/** Bytes. */
const SIZE = 64 << 20;

/**
 * Rehearses `script`, which finds the drive, and at its end lets it go.
 * @throws GuestfsError with what the script said, QmpError, or the reason of `signal`
 */
export async function rehearse(
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
  await runInGuest(connection, script, signal);
  await unplug(monitor, String(device['id']), signal);
  await monitor.execute('blockdev-del', { 'node-name': NODE }, signal);
}
