/** Parts of mountables; and exporting a guest's files through the server's file system, which is not for a network service. */
import { internalParseMountable } from '../../gen/calls/internal.js';
import type { MountLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { refuse } from './notOverNetwork.js';
import { unlessDaemonFails } from './tolerance.js';

export const mountActions: MountLibraryActions = {
  mount_local: refuse,
  mount_local_run: refuse,
  umount_local: refuse,
  mountable_device: async ({ daemon }, { mountable }) => {
    const parsed = await daemon.call(internalParseMountable, { mountable });
    return { device: parsed.mountable.im_device };
  },
  mountable_subvolume: async ({ daemon }, { mountable }) => {
    const parsed = await unlessDaemonFails(daemon.call(internalParseMountable, { mountable }));
    // Whatever is wrong with it, this is what the library says.
    if (parsed === undefined || parsed.mountable.im_volume === '')
      throw new GuestfsError('EINVAL', 'not a btrfs subvolume identifier');
    return { subvolume: parsed.mountable.im_volume };
  },
};
