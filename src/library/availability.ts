/** Whether the daemon has optional groups: `available` and `feature_available`. */
import { internalFeatureAvailable } from '../../gen/calls/internal.js';
import type { ApplianceLibraryActions } from '../../gen/libraryActions.js';
import { GuestfsError } from '../common/errors.js';
import { printable } from '../common/guestText.js';
import type { LibraryContext } from './context.js';
import { refused } from './refusal.js';

/** What the daemon answers. */
const AVAILABLE = 0;
const UNKNOWN = 2;

/**
 * Whether a group is available.
 * @throws GuestfsError for a group that no version of the daemon has
 */
async function isAvailable({ daemon }: LibraryContext, group: string): Promise<boolean> {
  const { result } = await daemon.call(internalFeatureAvailable, { group });
  if (result === UNKNOWN) throw refused('groups', `${printable(group)}: unknown group`);
  return result === AVAILABLE;
}

export const availabilityActions: Pick<ApplianceLibraryActions, 'available' | 'feature_available'> = {
  available: async (context, { groups }) => {
    for (const group of groups) {
      if (await isAvailable(context, group)) continue;
      const { text } = context.daemon.version;
      throw new GuestfsError(
        'GROUP_NOT_AVAILABLE',
        `${group}: group not available in the daemon of this appliance (${text})`,
        {
          metadata: { optional_group: group, daemon_version: text },
        },
      );
    }
    return {};
  },
  feature_available: async (context, { groups }) => {
    for (const group of groups) if (!(await isAvailable(context, group))) return { isavailable: false };
    return { isavailable: true };
  },
};
