/** Files and directories. */
import type { FileLibraryActions } from '../../gen/libraryActions.js';
import { fileContentActions } from './fileContents.js';
import { fileListActions } from './fileLists.js';
import { fileStatusActions } from './fileStatus.js';

export const fileActions: FileLibraryActions = { ...fileContentActions, ...fileListActions, ...fileStatusActions };
