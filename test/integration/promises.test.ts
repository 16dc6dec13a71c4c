/**
 * Calls that promise durability, on a disk with a volatile cache: when they have succeeded, a loss of power loses
 * nothing. ext2 is the hard case, since it flushes no cache of its own accord.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { VolatileDisk } from '../durability/powerLoss/volatileDisk.js';
import { Random } from '../fuzz/engine/random.js';
import { describeWithAppliance } from '../support/appliance.js';
import { serveNbd, type NbdServer } from '../support/nbdServer.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { remoteDrive, scratchDrive, type SessionClient } from '../support/testClient.js';

const SIZE = 16 << 20;

describeWithAppliance('after a call that promises durability, a loss of power loses nothing:', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  const disk = new VolatileDisk(SIZE);
  let nbd: NbdServer;
  let session: SessionClient;
  beforeAll(async () => {
    nbd = await serveNbd(disk);
  });
  afterAll(() => nbd.stop());

  const options = (): object => ({ protocol: 'nbd', server: { values: [nbd.address] }, format: 'raw' });
  const mount = (): Promise<unknown> => session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
  /** Writes something new to the mounted file system, or to the device. */
  const written = async (where: 'file' | 'device'): Promise<Buffer> => {
    const content = randomBytes(1000);
    if (where === 'file') await session.call('write', { path: '/file', content });
    else await session.call('pwrite_device', { device: '/dev/sda', content, offset: BigInt(SIZE / 2) });
    return content;
  };
  const survives = (content: Buffer): boolean => {
    const image = join(scene.server.images, 'left.img');
    disk.writeImage(image, disk.position, 'all', new Random(1));
    return readFileSync(image).includes(content);
  };

  it('sync, remount, umount, umount_all, blockdev_flushbufs, shutdown', async () => {
    const drive = remoteDrive({ protocol: 'nbd', server: [nbd.address] }, { format: 'raw', writable: true });
    session = await launchSession(scene.client, [drive]);
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
    const lost: string[] = [];
    const promise = async (what: string, where: 'file' | 'device', args: object = {}): Promise<void> => {
      const content = await written(where);
      expect({ what, survives: survives(content) }).toEqual({ what, survives: false });
      await session.call(what.split(' ')[0] as string, args);
      if (!survives(content)) lost.push(what);
    };
    await mount();
    await promise('sync', 'file');
    await promise('remount rw', 'file', { mountpoint: '/', rw: true });
    await promise('remount ro', 'file', { mountpoint: '/', rw: false });
    await session.call('remount', { mountpoint: '/', rw: true });
    await promise('umount', 'file', { pathordevice: '/' });
    await mount();
    await promise('umount_all', 'file');
    await promise('blockdev_flushbufs', 'device', { device: '/dev/sda' });
    await mount();
    await promise('shutdown', 'file');
    expect(lost).toEqual([]);
    await scene.client.deleteSession(session.id);
  });

  it('remove_drive', async () => {
    session = await launchSession(scene.client, [scratchDrive(1 << 20)]);
    await session.call('add_drive', { filename: '', label: 'remote', ...options() });
    const device = '/dev/disk/guestfs/remote';
    const content = randomBytes(1000);
    await session.call('pwrite_device', { device, content, offset: 0n });
    await session.call('remove_drive', { label: 'remote' });
    expect(survives(content)).toBe(true);
    await scene.client.deleteSession(session.id);
  });

  it('DeleteSession', async () => {
    const drive = remoteDrive({ protocol: 'nbd', server: [nbd.address] }, { format: 'raw', writable: true });
    session = await launchSession(scene.client, [drive]);
    const content = await written('device');
    await scene.client.deleteSession(session.id);
    expect(survives(content)).toBe(true);
  });
});
