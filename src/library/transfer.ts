/** Transfers between guest and host, and the cancelling of transfers. */
import type { TransferLibraryActions } from '../../gen/libraryActions.js';
import { copyIn } from './hostCopy/copyIn.js';
import { copyOut } from './hostCopy/copyOut.js';

export const transferActions: TransferLibraryActions = {
  copy_in: async (context, { localpath, remotedir }) => {
    await copyIn(context, localpath, remotedir);
    return {};
  },
  copy_out: async (context, { remotepath, localdir }) => {
    await copyOut(context, remotepath, localdir);
    return {};
  },
  user_cancel: async ({ session }) => {
    session.cancelTransfer();
    return {};
  },
};
