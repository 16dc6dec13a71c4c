/** Which library-side actions take a turn in their session. */
import type { LibraryActions } from '../../gen/libraryActions.js';

/** Those that talk to the daemon: one at a time, in state READY. The others run aside, whatever the daemon does. */
export const needsTurn: ReadonlySet<string> = new Set<keyof LibraryActions>([
  'available', 'feature_available',
  'mountable_device', 'mountable_subvolume',
  'cat', 'read_file', 'read_lines', 'write', 'write_append',
  'ls', 'find', 'readdir',
  'stat', 'lstat', 'lstatlist', 'lstatnslist', 'lxattrlist', 'readlinklist',
  'copy_in', 'copy_out',
  'journal_get',
  'filesystem_walk', 'find_inode', 'yara_scan',
  'inspect_get_icon', 'inspect_get_osinfo', 'inspect_list_applications', 'inspect_list_applications2',
]);
