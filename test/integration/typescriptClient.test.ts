/** The client for TypeScript with a real appliance: one session from its creation to its end. */
import { Readable } from 'node:stream';
import { status } from '@grpc/grpc-js';
import { expect, it } from '@jest/globals';
import { connect, type CallProgress } from '../../clients/typescript/src/index.js';
import { describeWithAppliance } from '../support/appliance.js';
import { serverForTests } from '../support/scene.js';

const SIZE = 64n << 20n;
const CHUNK = 256 * 1024;
const CHUNKS = 32;

describeWithAppliance('the client for TypeScript', () => {
  const scene = serverForTests();

  it('uses a session, and ends it with its scope', async () => {
    using client = connect(scene.server.address);
    const use = async () => {
      await using guest = await client.session({
        drives: [{ scratchSize: SIZE, writable: true }],
        labels: { purpose: 'test' },
        idleTimeout: 60,
        launch: true,
      });
      expect(await guest.describe()).toMatchObject({ id: guest.id, labels: new Map([['purpose', 'test']]) });
      await guest.mkfs('ext4', '/dev/sda', { label: 'data' });
      await guest.mount('/dev/sda', '/');
      const content = Buffer.alloc(CHUNK * CHUNKS, 'content');
      const chunks = function* (): Generator<Buffer> {
        for (let start = 0; start < content.length; start += CHUNK) yield content.subarray(start, start + CHUNK);
      };
      const heard: CallProgress[] = [];
      const whole = {
        progressHint: BigInt(content.length),
        requestId: 'whole',
        onProgress: (progress: CallProgress) => heard.push(progress),
      };
      await guest.upload(Readable.from(chunks()), '/file', whole);
      expect(heard.every(({ action, requestId }) => action === 'upload' && requestId === 'whole')).toBe(true);
      expect(await guest.filesize('/file')).toBe(BigInt(content.length));
      expect((await guest.download('/file').bytes()).equals(content)).toBe(true);
      expect(Buffer.concat((await guest.download('/file').node().toArray()) as Buffer[]).equals(content)).toBe(true);
      expect(Buffer.from(await new Response(guest.download('/file').web()).arrayBuffer()).equals(content)).toBe(true);
      expect(await guest.ls('/')).toEqual(['file', 'lost+found']);
      await expect(guest.cat('/missing')).rejects.toMatchObject({ errno: 'ENOENT', reason: 'ENOENT', action: 'cat' });
      const controller = new AbortController();
      const sleeping = guest.sleep(60, { signal: controller.signal, requestId: 'sleep' });
      setTimeout(() => controller.abort(new Error('enough')), 500);
      await expect(sleeping).rejects.toMatchObject({ code: status.CANCELLED, cause: { message: 'enough' } });
      await guest.endByForce();
      await expect(guest.ls('/')).rejects.toMatchObject({ reason: 'SESSION_ENDED' });
      return guest.id;
    };
    const id = await use();
    expect(scene.server.machines()).toEqual([]);
    await expect(client.attach(id).ls('/')).rejects.toMatchObject({ reason: 'SESSION_UNKNOWN', action: 'ls' });
  });
});
