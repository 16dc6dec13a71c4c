/** Block devices of the host as drives, where the server's operator allows them. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { describeWhen, describeWithAppliance } from '../support/appliance.js';
import { emptyImage, run } from '../support/diskImages.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;

/** A loop device and, under an image root, another name of it. */
function loopDevice(images: string): { readonly device: string; readonly name: string; readonly file: string } {
  const directory = join(images, 'devices');
  mkdirSync(directory);
  const file = emptyImage(join(directory, 'contents.img'), 16);
  const device = run('losetup', '--find', '--show', file).trim();
  const name = join(directory, 'disk');
  run('mknod', '-m', '660', name, 'b', '7', device.replace('/dev/loop', ''));
  return { device, name, file };
}

// A loop device needs root, like real block devices.
describeWhen('block devices of the host', process.geteuid?.() === 0 ? undefined : 'it takes root', () => {
  describe('where they are not allowed', () => {
    const scene = serverForTests();
    let loop: ReturnType<typeof loopDevice>;
    beforeAll(() => {
      loop = loopDevice(scene.server.images);
    });
    afterAll(() => {
      run('losetup', '--detach', loop.device);
    });

    it('are refused, with the setting that allows them', async () => {
      const { id } = await scene.client.createSession();
      const failure = await failureOf(
        new SessionClient(scene.client, id).call('add_drive', { filename: loop.name, format: 'raw' }),
      );
      expect(failure).toMatchObject({
        code: status.PERMISSION_DENIED,
        info: { reason: 'NOT_ALLOWED', metadata: { setting: '--allow block-devices' } },
      });
    });
  });

  describeWithAppliance('where they are allowed', () => {
    const scene = serverForTests({ flags: ['--allow', 'block-devices'] });
    let loop: ReturnType<typeof loopDevice>;
    beforeAll(() => {
      loop = loopDevice(scene.server.images);
    });
    afterAll(() => {
      run('losetup', '--detach', loop.device);
    });
    const contents = (): string => {
      run('blockdev', '--flushbufs', loop.device);
      return readFileSync(loop.file).toString('latin1', MEBIBYTE, MEBIBYTE + 5);
    };

    it('are read and written as images are', async () => {
      const session = await launchSession(scene.client, [imageDrive('devices/disk', { format: 'raw' })]);
      expect(await session.call('blockdev_getsize64', { device: '/dev/sda' })).toBe(BigInt(16 * MEBIBYTE));
      await session.call('pwrite_device', {
        device: '/dev/sda',
        content: Buffer.from('hello'),
        offset: BigInt(MEBIBYTE),
      });
      await scene.client.deleteSession(session.id);
      expect(contents()).toBe('hello');
    });

    it('keep their content if a session may only read', async () => {
      const session = await launchSession(scene.client, [
        imageDrive('devices/disk', { format: 'raw', writable: false }),
      ]);
      await session.call('pwrite_device', {
        device: '/dev/sda',
        content: Buffer.from('other'),
        offset: BigInt(MEBIBYTE),
      });
      await scene.client.deleteSession(session.id);
      expect(contents()).toBe('hello');
    });

    it('become empty raw disks by being discarded', async () => {
      const { id } = await scene.client.createSession();
      const session = new SessionClient(scene.client, id);
      const disk = { filename: 'devices/disk', format: 'raw', size: BigInt(16 * MEBIBYTE) };
      expect(await session.failure('disk_create', disk)).toMatchObject({ info: { reason: 'EEXIST' } });
      await session.call('disk_create', { ...disk, overwrite: true });
      expect(contents()).toBe('\0\0\0\0\0');
      expect(await session.call('disk_virtual_size', { filename: 'devices/disk' })).toBe(BigInt(16 * MEBIBYTE));
    });
  });
});
