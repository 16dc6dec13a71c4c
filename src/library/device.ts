/** Names of drives inside the appliance. */
import { lvmCanonicalLvName } from '../../gen/calls/lvm.js';
import type { DeviceLibraryActions } from '../../gen/libraryActions.js';
import { actionsByName } from '../actions/byName.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import { deviceNameOf, driveIndexOf, driveSuffixOf } from '../session/deviceNames.js';
import type { LibraryContext } from './context.js';
import { unlessDaemonFails } from './tolerance.js';

const lvmCanonicalLvNameAction = actionsByName.get(lvmCanonicalLvName.action);

/** The usual name of a logical volume that is given by its device-mapper name. */
async function logicalVolume({ session, signal }: LibraryContext, lvname: string): Promise<string> {
  // The library answers in every state, but without a daemon there is nothing to query.
  if (session.state !== 'READY' || lvmCanonicalLvNameAction === undefined) return lvname;
  const request = { lvname };
  // A separate call, because the rest of the action needs no turn.
  const found = await unlessDaemonFails(
    session.perform(lvmCanonicalLvNameAction, request, signal, (daemon) => daemon.call(lvmCanonicalLvName, request)),
  );
  return found?.lv ?? lvname;
}

export const deviceActions: DeviceLibraryActions = {
  canonical_device_name: async (context, { device }) => {
    const suffix = driveSuffixOf(device);
    if (suffix !== undefined) return { canonical: `/dev/sd${suffix}` };
    if (device.startsWith('/dev/mapper/') || device.startsWith('/dev/dm-'))
      return { canonical: await logicalVolume(context, device) };
    return { canonical: device };
  },
  device_index: async (_context, { device }) => {
    const index = driveIndexOf(device);
    if (index === undefined) throw new GuestfsError('ENODEV', `${printable(device)}: device not found`);
    return { index };
  },
  device_name: async ({ session }, { index }) => {
    if (!session.hasDrive(index)) {
      throw new GuestfsError(
        'EINVAL',
        `drive index out of range: the session has ${session.drives.length} drives, and ${index} is not the number of one (the first is 0)`,
      );
    }
    return { name: deviceNameOf(index) };
  },
};
