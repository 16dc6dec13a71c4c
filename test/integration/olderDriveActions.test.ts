/** The older ways to add a drive: they add the same drives, writable or not according to their names. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { run, sha256 } from '../support/diskImages.js';
import { serverForTests } from '../support/scene.js';
import { SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const WORDS = Buffer.from('written by a guest');
const OFFSET = 4096;

interface Way {
  readonly action: string;
  readonly request: object;
  readonly writable: boolean;
}

/** In the order in which they are added. */
const WAYS: readonly Way[] = [
  { action: 'add_cdrom', request: {}, writable: false },
  { action: 'add_drive_ro', request: {}, writable: false },
  { action: 'add_drive_ro_with_if', request: { iface: 'ide' }, writable: false },
  { action: 'add_drive_with_if', request: { iface: 'virtio' }, writable: true },
];

describeWithAppliance('drives that are added in older ways', () => {
  const scene = serverForTests();
  let before: readonly string[];

  const image = (index: number): string => join(scene.server.images, `disk${index}.img`);
  const sums = (): Promise<string[]> => Promise.all(WAYS.map((_way, index) => sha256(image(index))));

  beforeAll(async () => {
    for (const index of WAYS.keys()) {
      writeFileSync(image(index), Buffer.alloc((index + 1) * MEBIBYTE, String(index)));
      // So that they are recognised as disks.
      run('sgdisk', '--zap-all', '--new=1', image(index));
    }
    before = await sums();
  });

  it('are in their order, and are all written in the guest', async () => {
    const session = new SessionClient(scene.client, (await scene.client.createSession()).id);
    for (const [index, { action, request }] of WAYS.entries())
      await session.call(action, { filename: image(index), ...request });
    await session.call('launch');
    for (const [index, device] of ['/dev/sda', '/dev/sdb', '/dev/sdc', '/dev/sdd'].entries()) {
      expect(await session.call('blockdev_getsize64', { device })).toBe(BigInt((index + 1) * MEBIBYTE));
      expect(await session.call('pwrite_device', { device, content: WORDS, offset: BigInt(OFFSET) })).toBe(
        WORDS.length,
      );
      await session.call('blockdev_flushbufs', { device });
      expect(await session.call('pread_device', { device, count: WORDS.length, offset: BigInt(OFFSET) })).toEqual(
        WORDS,
      );
    }
    await session.call('sync');
    await scene.client.deleteSession(session.id);
  });

  it('are as before on the server, but for the one that is written', async () => {
    const after = await sums();
    expect(after.map((sum, index) => sum !== before[index])).toEqual(WAYS.map(({ writable }) => writable));
    const written = readFileSync(image(WAYS.length - 1));
    expect(written.subarray(OFFSET, OFFSET + WORDS.length)).toEqual(WORDS);
    expect(written).toHaveLength(WAYS.length * MEBIBYTE);
  });
});
