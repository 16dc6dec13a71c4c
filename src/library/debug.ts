/** For developers: the drives as the session has them. */
import type { DebugLibraryActions } from '../../gen/libraryActions.js';
import type { Drive } from '../images/drive.js';

/** In the library's form. */
function describe(drive: Drive): string {
  return [
    drive.source.kind === 'file' ? drive.source.path : `(scratch, ${drive.source.size} bytes)`,
    ...(drive.readonly ? ['readonly'] : []),
    ...(drive.format === undefined ? [] : [`format=${drive.format}`]),
    'protocol=file',
    ...(drive.label === undefined ? [] : [`label=${drive.label}`]),
    ...(drive.cacheMode === 'writeback' ? [] : [`cache=${drive.cacheMode}`]),
    ...(drive.discard === 'disable' ? [] : [`discard=${drive.discard}`]),
    ...(drive.copyOnRead ? ['copyonread'] : []),
    ...(drive.blockSize === undefined ? [] : [`blocksize=${drive.blockSize}`]),
  ].join(' ');
}

export const debugActions: DebugLibraryActions = {
  debug_drives: async ({ session }) => ({ cmdline: session.drives.map(describe) }),
};
