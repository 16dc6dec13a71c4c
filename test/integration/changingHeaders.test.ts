/** One session writes headers into an image as a raw drive; this gives no other session access to other files. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { leadingHeader } from '../support/leadingQcow2.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, imageDrive, type SessionClient } from '../support/testClient.js';

const SECRET = 'of the host, and in no image root';

describeWithAppliance('an image that one session writes as a raw drive', () => {
  const scene = serverForTests();
  let outside: string;
  let secret: string;
  beforeAll(() => {
    outside = mkdtempSync(join(tmpdir(), 'outside-'));
    chmodSync(outside, 0o755);
    secret = join(outside, 'secret');
    writeFileSync(secret, SECRET.padEnd(1 << 20));
    // The mode of the file must not be what keeps qemu from it.
    chmodSync(secret, 0o666);
  });
  afterAll(() => rmSync(outside, { recursive: true }));
  const locked = { info: { reason: 'IMAGE_LOCKED' } };

  /** A raw drive with a qcow2 image in it, in a session that can make its header refer to the host's file. */
  async function writer(name: string): Promise<{ session: SessionClient; evil: Buffer; good: Buffer }> {
    const { server, client } = scene;
    const path = join(server.images, name);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1M']);
    const good = readFileSync(path).subarray(0, 65536);
    const evil = leadingHeader(good, secret);
    return { session: await launchSession(client, [imageDrive(path)]), evil, good };
  }

  it('cannot be attached by another session in another format, in any way', async () => {
    const { client } = scene;
    const { session } = await writer('one.img');
    for (const writable of [false, true]) {
      expect(
        await failureOf(launchSession(client, [imageDrive('one.img', { format: 'qcow2', writable })])),
      ).toMatchObject(locked);
    }
    // Its apparent format is what a guest wrote.
    expect(
      await failureOf(launchSession(client, [imageDrive('one.img', { format: undefined, writable: false })])),
    ).toMatchObject(locked);
    const other = await launchSession(client, [
      { ...imageDrive('none'), source: { $case: 'scratch_size', value: 1n << 20n } },
    ]);
    expect(
      await other.failure('add_drive', { filename: 'one.img', format: 'qcow2', readonly: true, label: 'hot' }),
    ).toMatchObject(locked);
    expect(
      await other.failure('disk_create', { filename: 'one.img', format: 'raw', size: 1n << 20n, overwrite: true }),
    ).toMatchObject(locked);
    expect(
      await failureOf(
        client.inspect({
          drives: [
            { source: { $case: 'path', value: 'one.img' }, format: 'qcow2', blocksize: undefined, backing_formats: [] },
          ],
        }),
      ),
    ).toMatchObject(locked);

    // Reading it as raw is harmless, and so is the format once the writer has ended.
    const reader = await launchSession(client, [imageDrive('one.img', { writable: false })]);
    await reader.call('pread_device', { device: '/dev/sda', count: 512, offset: 0n });
    await client.deleteSession(reader.id);
    await client.deleteSession(session.id);
    await other.call('add_drive', { filename: 'one.img', format: 'qcow2', readonly: true, label: 'hot' });
    // Now the reader keeps writers out, until its drive is removed.
    expect(await failureOf(launchSession(client, [imageDrive('one.img')]))).toMatchObject(locked);
    await other.call('remove_drive', { label: 'hot' });
    await client.deleteSession((await launchSession(client, [imageDrive('one.img')])).id);
    await client.deleteSession(other.id);
  });

  it('shows nothing of the host even if another program keeps changing it', async () => {
    const { server, client } = scene;
    const path = join(server.images, 'two.img');
    const { session, evil, good } = await writer('two.img');
    await client.deleteSession(session.id);
    // Another program on the host, unknown to the server.
    const timer = setInterval(() => writeFileSync(path, Math.random() < 0.5 ? evil : good, { flag: 'r+' }), 3);
    try {
      for (let turn = 0; turn < 4; turn++) {
        for (const writable of [false, true]) {
          const launched = await launchSession(client, [imageDrive('two.img', { format: 'qcow2', writable })]).catch(
            () => undefined,
          );
          if (launched === undefined) continue;
          const read = (await launched.call('pread_device', { device: '/dev/sda', count: 512, offset: 0n })) as Buffer;
          expect(Buffer.from(read).includes(SECRET)).toBe(false);
          await client.deleteSession(launched.id);
        }
      }
    } finally {
      clearInterval(timer);
    }
  });
});
