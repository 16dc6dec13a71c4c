/** The library actions: libguestfs runs them in the calling process, here the server does. */
import type { LibraryActions } from '../../gen/libraryActions.js';
import { applianceActions } from './appliance.js';
import { debugActions } from './debug.js';
import { deviceActions } from './device.js';
import { driveActions } from './drive.js';
import { fileActions } from './file.js';
import { attributeActions } from './fileStatus.js';
import { forensicsActions } from './forensics.js';
import { inspectionActions } from './inspection.js';
import { journalActions } from './journal.js';
import { mountActions } from './mount.js';
import { propertyActions } from './property.js';
import { transferActions } from './transfer.js';

/** All of them, by libguestfs's names. */
export const libraryActions: LibraryActions = {
  ...applianceActions,
  ...propertyActions,
  ...driveActions,
  ...deviceActions,
  ...mountActions,
  ...fileActions,
  ...attributeActions,
  ...transferActions,
  ...inspectionActions,
  ...journalActions,
  ...forensicsActions,
  ...debugActions,
};
