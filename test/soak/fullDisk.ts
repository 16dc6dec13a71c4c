/** A host whose disk is full for a while: no promise is made then, and what was promised before is there afterwards. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FileSystem } from '../durability/fileSystems.js';
import { DEVICE, mount, sha256Of } from '../durability/load.js';
import type { Random } from '../fuzz/engine/random.js';
import { emptyImage } from '../support/diskImages.js';
import { failureOf, imageDrive, SessionClient, type TestClient } from '../support/testClient.js';

const DISK_MIB = 24;
const IMAGE_MIB = 96;
const KEPT_BYTES = 100_000;
const FILLED_MIB = 40;

/** A small disk of the host; only root can mount one. */
export class SmallDisk {
  constructor(readonly directory: string) {
    mkdirSync(directory);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'tmpfs', directory]);
  }

  remove(): void {
    execFileSync('umount', ['-l', this.directory]);
  }
}

/** Fills the disk below a session that writes. @returns what is wrong */
export async function fillDisk(
  client: TestClient,
  { directory }: SmallDisk,
  fileSystem: FileSystem,
  random: Random,
): Promise<string[]> {
  const [image, filler] = ['image', 'filler'].map((name) => join(directory, name)) as [string, string];
  emptyImage(image, IMAGE_MIB);
  const launched = async (): Promise<SessionClient> =>
    new SessionClient(client, (await client.createSession({ drives: [imageDrive(image)], launch: true })).id);
  const kept = Buffer.from(Array.from({ length: KEPT_BYTES }, () => random.below(256)));
  const wrong: string[] = [];
  const session = await launched();
  await session.call('mkfs', { fstype: fileSystem.name, device: DEVICE });
  await mount(session);
  await session.call('write', { path: '/kept', content: kept });
  await session.call('sync');
  try {
    writeFileSync(filler, Buffer.alloc(DISK_MIB << 20));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  await session.call('fill', { c: 1, len: FILLED_MIB << 20, path: '/large' }).catch(() => undefined);
  for (const promise of ['sync', 'umount_all']) {
    const { reason } = await failureOf(session.call(promise), `${promise} on a full disk`);
    // The appliance may have noticed first: its file system is read-only then.
    if (!['ENOSPC', 'EIO', 'EROFS'].includes(reason)) wrong.push(`${promise} on a full disk: ${reason}`);
  }
  await failureOf(client.deleteSession(session.id), 'DeleteSession on a full disk');
  rmSync(filler);
  const heir = await launched();
  await mount(heir);
  // Of the other file, only a part could be written: not even its metadata may be complete.
  const sum: string = await heir.call('checksum', { csumtype: 'sha256', path: '/kept' });
  if (sum !== sha256Of(kept)) wrong.push('a file that was written before the disk was full has changed');
  await client.deleteSession(heir.id);
  rmSync(image);
  return wrong.map((one) => `full disk: ${one}`);
}
