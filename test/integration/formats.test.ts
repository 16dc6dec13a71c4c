/** Image formats, stated and probed; and how drives appear: their order, their labels, their sectors. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const OFFSET = 3 * MEBIBYTE;
const DEVICES = ['/dev/sda', '/dev/sdb', '/dev/sdc', '/dev/sdd', '/dev/sde'];
/** Of the drives, in order, none in the order of its size. */
const SIZES_MB = [24, 16, 40, 8, 32];

describeWithAppliance('five drives', () => {
  const scene = serverForTests();
  let session: SessionClient;
  const image = (name: string): string => join(scene.server.images, name);

  beforeAll(async () => {
    emptyImage(image('stated.img'), 24);
    run('qemu-img', 'create', '-q', '-f', 'qcow2', image('stated.qcow2'), '16M');
    emptyImage(image('probed.img'), 40);
    run('sgdisk', '--clear', image('probed.img')); // something to be recognised by
    run('qemu-img', 'create', '-q', '-f', 'qcow2', image('probed.qcow2'), '8M');
    session = await launchSession(scene.client, [
      imageDrive('stated.img', { format: 'raw' }),
      imageDrive('stated.qcow2', { format: 'qcow2', label: 'stated' }),
      imageDrive('probed.img', { format: undefined }),
      imageDrive('probed.qcow2', { format: undefined, label: 'probed' }),
      scratchDrive(32 * MEBIBYTE, { blocksize: 4096 }),
    ]);
  });

  it('are in the order in which they were added', async () => {
    expect(await session.call('list_devices')).toEqual(DEVICES);
    const sizes: number[] = [];
    for (const device of DEVICES) sizes.push(Number(await session.call('blockdev_getsize64', { device })) / MEBIBYTE);
    expect(sizes).toEqual(SIZES_MB);
    expect(await session.call('nr_devices')).toBe(5);
    expect(await session.call('device_index', { device: '/dev/sdd' })).toBe(3);
  });

  it('appear under their labels, too', async () => {
    expect(new Map(await session.call('list_disk_labels'))).toEqual(
      new Map([
        ['stated', '/dev/sdb'],
        ['probed', '/dev/sdd'],
      ]),
    );
    expect(await session.call('blockdev_getsize64', { device: '/dev/disk/guestfs/stated' })).toBe(
      BigInt(16 * MEBIBYTE),
    );
    await session.call('part_disk', { device: '/dev/disk/guestfs/stated', parttype: 'gpt' });
    expect(await session.call('list_partitions')).toContain('/dev/sdb1');
    expect(await session.call('blockdev_getsize64', { device: '/dev/disk/guestfs/stated1' })).toBe(
      await session.call('blockdev_getsize64', { device: '/dev/sdb1' }),
    );
  });

  it('have the requested sector size', async () => {
    expect(await session.call('blockdev_getss', { device: '/dev/sde' })).toBe(4096);
    expect(await session.call('blockdev_getss', { device: '/dev/sda' })).toBe(512);
    await session.call('part_disk', { device: '/dev/sde', parttype: 'gpt' });
    const [partition] = (await session.call('part_list', { device: '/dev/sde' })) as { part_start: bigint }[];
    expect(Number(partition?.part_start) % 4096).toBe(0);
  });

  it('are written in their formats', async () => {
    for (const device of DEVICES.slice(0, 4))
      await session.call('pwrite_device', {
        device,
        content: Buffer.from(`written to ${device}`),
        offset: BigInt(OFFSET),
      });
    await scene.client.deleteSession(session.id);
    const textIn = (raw: string, device: string): string =>
      readFileSync(raw).toString('latin1', OFFSET, OFFSET + `written to ${device}`.length);
    expect(textIn(image('stated.img'), '/dev/sda')).toBe('written to /dev/sda');
    expect(textIn(image('probed.img'), '/dev/sdc')).toBe('written to /dev/sdc');
    for (const [name, device] of [
      ['stated.qcow2', '/dev/sdb'],
      ['probed.qcow2', '/dev/sdd'],
    ] as const) {
      expect(JSON.parse(run('qemu-img', 'info', '--output=json', image(name)))).toMatchObject({ format: 'qcow2' });
      run('qemu-img', 'check', '-q', '-f', 'qcow2', image(name));
      run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', image(name), image(`${name}.raw`));
      expect(textIn(image(`${name}.raw`), device)).toBe(`written to ${device}`);
    }
  });
});
