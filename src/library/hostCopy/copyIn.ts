/** `copy_in`: from a directory of the server into the guest. */
import { isDir } from '../../../gen/calls/file.js';
import { tarIn } from '../../../gen/calls/transfer.js';
import { GuestfsError } from '../../common/errors.js';
import { printable } from '../../common/guestText.js';
import type { LibraryContext } from '../context.js';
import { openSource } from './hostPath.js';
import { startPacking, type Tar } from './tarProcess.js';

/** The archive; fails with tar's error, so that the final chunk is not sent to the daemon. */
async function* archiveOf(tar: Tar): AsyncGenerator<Buffer> {
  yield* tar.output as AsyncIterable<Buffer>;
  await tar.finish();
}

export async function copyIn(
  { daemon, imageRoots }: LibraryContext,
  localpath: string,
  remotedir: string,
): Promise<void> {
  const { directory, name } = await openSource(localpath, imageRoots);
  try {
    if (!(await daemon.call(isDir, { path: remotedir })).dirflag)
      throw new GuestfsError('ENOTDIR', `target '${printable(remotedir)}' is not a directory`);
    const tar = await startPacking(directory.fd, name);
    try {
      await daemon.upload(tarIn, { directory: remotedir }, archiveOf(tar));
    } finally {
      await tar.abandon();
    }
  } finally {
    await directory.close();
  }
}
