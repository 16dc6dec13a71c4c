/** Parts of mountables. */
import { internalParseMountable } from '../../gen/calls/internal.js';
import type { MountLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { unlessDaemonFails } from './tolerance.js';

export const mountActions: MountLibraryActions = {
  mountable_device: async ({ daemon }, { mountable }) => {
    const parsed = await daemon.call(internalParseMountable, { mountable });
    return { device: parsed.mountable.im_device };
  },
  mountable_subvolume: async ({ daemon }, { mountable }) => {
    const parsed = await unlessDaemonFails(daemon.call(internalParseMountable, { mountable }));
    // The library has only this message, for every error.
    if (parsed === undefined || parsed.mountable.im_volume === '')
      throw new GuestfsError('EINVAL', 'not a btrfs subvolume identifier');
    return { subvolume: parsed.mountable.im_volume };
  },
};
