/** Limits how many tools that create disks run at once: writing an entire disk takes long. */
import { FairSemaphore } from '../common/fairSemaphore.js';

export const diskTools = new FairSemaphore({
  parallel: 16,
  perClient: 4,
  waiting: 64,
  limit: 'disk-tools-waiting',
  tasks: 'tools that create disks',
});
