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
  ['Launch: a dedicated appliance with the real guestfsd', launch],
  ['Partitions', partitions],
  ['File systems and logical volumes', filesystems],
  [`${files.size} files that make up a small Linux system`, writeFiles],
  ['64 MiB up and down', transfer],
  ['Listing files', listing],
  ['An inspection', inspection],
  ['Space', space],
  ['End of the session', finish],
];

export async function runTour(guide: Guide, signal: AbortSignal): Promise<void> {
  for (const [title, step] of STEPS) {
    signal.throwIfAborted();
    guide.out.step(title);
    await step(guide);
  }
  guide.out.summary();
}
