/** The tour, in order. */
import type { Guide } from './guide.js';
import { files } from './guest/systemFiles.js';
import { writeFiles } from './steps/files.js';
import { filesystems } from './steps/filesystems.js';
import { finish } from './steps/finish.js';
import { inspection } from './steps/inspection.js';
import { launch } from './steps/launch.js';
import { listing } from './steps/listing.js';
import { partitions } from './steps/partitions.js';
import { session } from './steps/session.js';
import { space } from './steps/space.js';
import { transfer } from './steps/transfer.js';

const STEPS: readonly (readonly [title: string, step: (guide: Guide) => Promise<void>])[] = [
  ['A session and a disk image', session],
  ['Launch: an appliance of its own, with the real guestfsd', launch],
  ['Partitions', partitions],
  ['File systems and logical volumes', filesystems],
  [`${files.size} files, as if it were a Linux system`, writeFiles],
  ['64 MiB in and out', transfer],
  ['What is there', listing],
  ['An inspection', inspection],
  ['Space', space],
  ['The end of the session', finish],
];

export async function runTour(guide: Guide, signal: AbortSignal): Promise<void> {
  for (const [title, step] of STEPS) {
    signal.throwIfAborted();
    guide.out.step(title);
    await step(guide);
  }
  guide.out.summary();
}
