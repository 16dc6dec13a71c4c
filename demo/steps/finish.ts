/** Ends the session, and checks its work in the image. */
import { open, stat } from 'node:fs/promises';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import type { Guide } from '../guide.js';
import { bytes } from '../terminal/format.js';
import { BOOT_START, LVM_START } from './partitions.js';
import { imagePath } from './session.js';

const SECTOR = 512;
/** Block size of stat, independent of the file system. */
const STAT_BLOCK = 512;

/** What must be in the image, and where. */
const SIGNATURES: readonly { readonly what: string; readonly offset: number; readonly bytes: Buffer }[] = [
  { what: 'a GPT header', offset: SECTOR, bytes: Buffer.from('EFI PART') },
  { what: 'an ext4 superblock', offset: Number(BOOT_START) * SECTOR + 1024 + 56, bytes: Buffer.from([0x53, 0xef]) },
  { what: 'an LVM label', offset: Number(LVM_START) * SECTOR + SECTOR, bytes: Buffer.from('LABELONE') },
];

export async function finish(guide: Guide): Promise<void> {
  const { current, out } = guide;
  if (current === undefined) return;
  await guide.tell(
    SessionServiceService.deleteSession,
    () => current.session.end(),
    'synced and unmounted; the appliance has exited',
  );
  guide.current = undefined;
  await current.eventsEnded;
  out.text(`events: ${current.events.summary()}`);
  await showImage(guide);
}

async function showImage(guide: Guide): Promise<void> {
  const path = imagePath(guide);
  const { size, blocks } = await stat(path);
  guide.out.text(`${path}: ${bytes(size)}, of which ${bytes(blocks * STAT_BLOCK)} are on disk`);
  const file = await open(path);
  try {
    for (const { what, offset, bytes: expected } of SIGNATURES) {
      const found = Buffer.alloc(expected.length);
      await file.read(found, 0, found.length, offset);
      if (!found.equals(expected)) throw new Error(`byte ${offset} of the image is not ${what}`);
      guide.out.good(`${what} at byte ${offset}`);
    }
  } finally {
    await file.close();
  }
}
