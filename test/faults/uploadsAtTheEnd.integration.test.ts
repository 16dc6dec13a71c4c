/** A server that is asked to end while ten uploads are on their way. */
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { debugfs, emptyImage } from '../support/diskImages.js';
import { launchSession } from '../support/scene.js';
import { failureOf, imageDrive, TestClient, type SessionClient } from '../support/testClient.js';
import { startTestServer } from '../support/testServer.js';

const PIECE = Buffer.alloc(64 << 10, 'x');

/** Sends a little at a time, for longer than the test. */
async function* endless(): AsyncGenerator<Buffer> {
  for (;;) {
    yield PIECE;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describeWithAppliance('ten uploads when the server is asked to end', () => {
  it('each end once, with a status; what was acknowledged is there, and the exit code is 0', async () => {
    const server = await startTestServer({ flags: ['--drain-grace', '30'] });
    const client = new TestClient(server.address);
    const sessions: SessionClient[] = [];
    for (const name of ['a.img', 'b.img']) {
      emptyImage(join(server.images, name), 128);
      const session = await launchSession(client, [imageDrive(name)]);
      await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
      await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
      await session.upload('upload', { remotefilename: '/acknowledged' }, [PIECE]);
      sessions.push(session);
    }
    // Five for each: one is on its way, four wait.
    const uploads = Array.from({ length: 10 }, (_, count) =>
      failureOf(
        (sessions[count % 2] as SessionClient).upload('upload', { remotefilename: `/upload${count}` }, endless()),
      ),
    );
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const started = performance.now();
    server.process.kill('SIGTERM');
    const reasons = (await Promise.all(uploads)).map(({ info }) => info?.reason);
    expect(reasons.filter((reason) => reason === 'CANCELLED')).toHaveLength(2);
    const neverSent = ['APPLIANCE_GONE', 'SESSION_UNKNOWN', 'SHUTTING_DOWN'];
    expect(reasons.filter((reason) => neverSent.includes(reason ?? ''))).toHaveLength(8);
    const [code] = (await once(server.process, 'exit')) as [number];
    expect(code).toBe(0);
    expect(performance.now() - started).toBeLessThan(30_000);
    for (const name of ['a.img', 'b.img'])
      expect(debugfs(join(server.images, name), 0, 'cat /acknowledged')).toBe(PIECE.toString());
    client.close();
    expect(await server.stop()).toEqual({ code: 0, processes: [], files: [] });
  });
});
