/** Transfers between guest and server, and the end of any transfer. */
import type { TransferLibraryActions } from '../../gen/libraryActions.js';
import { requireAllowed } from '../security/policy.js';
import type { LibraryContext } from './context.js';
import { GuestfsError } from '../common/errors.js';
import { copyIn } from './hostCopy/copyIn.js';
import { copyOut } from './hostCopy/copyOut.js';

/** @throws GuestfsError NOT_ALLOWED, saying what a client of a network service rather wants */
function requireHostActions({ action, policy }: LibraryContext, instead: string): void {
  try {
    requireAllowed(policy, 'host-actions', action.name);
  } catch (error) {
    if (!(error instanceof GuestfsError)) throw error;
    throw new GuestfsError(
      error.reason,
      `${error.message}. It is about files of the server, not of its client, who uses ${instead}`,
      error.details,
    );
  }
}

export const transferActions: TransferLibraryActions = {
  copy_in: async (context, { localpath, remotedir }) => {
    requireHostActions(context, 'TarIn for a directory and Upload for a file');
    await copyIn(context, localpath, remotedir);
    return {};
  },
  copy_out: async (context, { remotepath, localdir }) => {
    requireHostActions(context, 'TarOut for a directory and Download for a file');
    await copyOut(context, remotepath, localdir);
    return {};
  },
  user_cancel: async ({ session }) => {
    session.cancelTransfer();
    return {};
  },
};
