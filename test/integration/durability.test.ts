/** A host without free space for an image: calls that guarantee that data was written report that it was not. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { launchSession } from '../support/scene.js';
import { failureOf, imageDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { CLEAN_END, startTestServer } from '../support/testServer.js';

const NO_SPACE = {
  code: status.RESOURCE_EXHAUSTED,
  details: expect.stringMatching(/writes to \/dev\/sda failed on the server's host, which has no space left/),
  info: { reason: 'ENOSPC', metadata: expect.objectContaining({ device: '/dev/sda' }) },
};

describeWithAppliance('a full disk below an image', () => {
  // Only root can mount a file system that is too small.
  (process.geteuid?.() === 0 ? it : it.skip)(
    'is reported by sync, umount_all, shutdown and DeleteSession',
    async () => {
      const server = await startTestServer();
      const client = new TestClient(server.address);
      const small = join(server.images, 'small');
      mkdirSync(small);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', small]);
      try {
        const overfilled = async (name: string): Promise<SessionClient> => {
          emptyImage(join(small, name), 200);
          const session = await launchSession(client, [imageDrive(`small/${name}`)]);
          await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
          await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
          await session.call('sync');
          // For now, the data is in the appliance's memory.
          await session.call('fill', { c: 1, len: 40 << 20, path: '/large' });
          return session;
        };
        const one = await overfilled('one.img');
        expect(await one.failure('sync')).toMatchObject(NO_SPACE);
        expect(await one.failure('umount_all')).toMatchObject(NO_SPACE);
        expect(await failureOf(client.deleteSession(one.id))).toMatchObject(NO_SPACE);
        execFileSync('rm', [join(small, 'one.img')]);
        const other = await overfilled('other.img');
        expect(await other.failure('shutdown')).toMatchObject(NO_SPACE);
        await client.deleteSession(other.id);
      } finally {
        execFileSync('umount', ['-l', small]);
      }
      client.close();
      expect(await server.stop()).toEqual(CLEAN_END);
    },
  );
});
