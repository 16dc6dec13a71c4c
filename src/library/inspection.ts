/** Facts about inspected systems that the library determines, not the daemon. */
import type { InspectionLibraryActions } from '../../gen/libraryActions.js';
import { applicationActions } from './applications/index.js';
import { iconActions } from './icon.js';
import { osinfoActions } from './osinfo.js';

export const inspectionActions: InspectionLibraryActions = { ...applicationActions, ...iconActions, ...osinfoActions };
