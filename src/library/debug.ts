/** For developers: the session's view of its drives. */
import type { DebugLibraryActions } from '../../gen/libraryActions.js';
import type { Drive, DriveSource } from '../images/drive.js';

function nameOf(source: DriveSource): string {
  switch (source.kind) {
    case 'file':
      return source.name;
    case 'remote':
      return source.remote.name;
    case 'scratch':
      return `(scratch, ${source.size} bytes)`;
  }
}

/** In the library's form. */
function describe(drive: Drive): string {
  return [
    nameOf(drive.source),
    ...(drive.readonly ? ['readonly'] : []),
    ...(drive.format === undefined ? [] : [`format=${drive.format}`]),
    `protocol=${drive.source.kind === 'remote' ? drive.source.remote.protocol : 'file'}`,
    ...(drive.label === undefined ? [] : [`label=${drive.label}`]),
    ...(drive.cacheMode === undefined ? [] : [`cache=${drive.cacheMode}`]),
    ...(drive.discard === 'disable' ? [] : [`discard=${drive.discard}`]),
    ...(drive.copyOnRead ? ['copyonread'] : []),
    ...(drive.blockSize === undefined ? [] : [`blocksize=${drive.blockSize}`]),
  ].join(' ');
}

export const debugActions: DebugLibraryActions = {
  debug_drives: async ({ session }) => ({ cmdline: session.drives.map(describe) }),
};
