/** A second writer of an image is told that it is in use: in every format, and whenever a clone gets its drives. */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { LaunchKind } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { eventually } from '../support/eventually.js';
import { launchAs } from '../support/launchKinds.js';
import { serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, scratchDrive, SessionClient } from '../support/testClient.js';

const FORMATS = ['qcow2', 'raw', 'qcow', 'qed', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'];

describeWithAppliance('a second writer of an image', () => {
  describe('in a clone', () => {
    const scene = serverForTests({ flags: ['--launch', 'template'] });
    const drive = (format: string): ReturnType<typeof imageDrive> => imageDrive(`new.${format}`, { format });
    const inUse = (format: string): object => ({
      info: expect.objectContaining({ reason: 'IMAGE_LOCKED' }),
      details: expect.stringContaining(`new.${format}' is in use`),
    });

    it('is refused by name in every format, at a launch and later', async () => {
      for (const format of FORMATS) {
        const path = join(scene.server.images, `new.${format}`);
        execFileSync('qemu-img', ['create', '-q', '-f', format, path, '8M']);
        chmodSync(path, 0o666);
      }
      // Created first, so that the images are not in use yet.
      const waiting = new Map<string, SessionClient>();
      for (const format of FORMATS)
        waiting.set(
          format,
          new SessionClient(scene.client, (await scene.client.createSession({ drives: [drive(format)] })).id),
        );
      const holder = await launchAs('template', scene, FORMATS.map(drive));
      const failures: [string, unknown][] = [];
      for (const [format, session] of waiting) {
        failures.push([format, await failureOf(session.call('launch'))]);
        await scene.client.deleteSession(session.id);
      }
      expect(failures).toEqual(FORMATS.map((format) => [format, expect.objectContaining(inUse(format))]));

      const running = await launchAs('template', scene, [scratchDrive(1 << 20)]);
      const refused: [string, unknown][] = [];
      for (const format of FORMATS)
        refused.push([
          format,
          await failureOf(
            running.call('add_drive', {
              filename: join(scene.server.images, `new.${format}`),
              format,
              readonly: false,
            }),
          ),
        ]);
      expect(refused).toEqual(FORMATS.map((format) => [format, expect.objectContaining(inUse(format))]));
      expect(await running.call('list_devices')).toEqual(['/dev/sda']);

      await scene.client.deleteSession(holder.id);
      await running.call('add_drive', {
        filename: join(scene.server.images, 'new.qcow2'),
        format: 'qcow2',
        readonly: false,
      });
      expect(await running.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
      await scene.client.deleteSession(running.id);
    });
  });

  describe('in a clone from the pool', () => {
    const scene = serverForTests({ flags: ['--pool', '1'] });

    it('is refused by name', async () => {
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(scene.server.images, 'new.qcow2'), '8M']);
      chmodSync(join(scene.server.images, 'new.qcow2'), 0o666);
      const ids: string[] = [];
      for (let count = 0; count < 2; count += 1)
        ids.push((await scene.client.createSession({ drives: [imageDrive('new.qcow2', { format: 'qcow2' })] })).id);
      const [first, second] = ids.map((id) => new SessionClient(scene.client, id)) as [SessionClient, SessionClient];
      await first.call('launch');
      expect((await scene.client.getSession(first.id)).launch_kind).toBe(LaunchKind.TEMPLATE);
      await eventually(() => scene.server.log().split('the clone pool is full').length > 2);
      expect(await failureOf(second.call('launch'))).toMatchObject({
        info: { reason: 'IMAGE_LOCKED' },
        details: expect.stringContaining("new.qcow2' is in use"),
      });
      for (const id of ids) await scene.client.deleteSession(id);
    });
  });
});
