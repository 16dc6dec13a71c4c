/** Turns of the tools that make disks, such as qemu-img: each is a process, and one that writes a whole disk takes long. */
import { FairSemaphore } from '../common/fairSemaphore.js';

export const diskTools = new FairSemaphore({
  parallel: 16,
  perClient: 4,
  waiting: 64,
  limit: 'disk-tools-waiting',
  tasks: 'tools that make disks',
});
