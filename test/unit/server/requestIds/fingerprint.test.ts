import { expect, it } from '@jest/globals';
import { WriteRequest } from '../../../../gen/proto/guestfs/v1/file.js';
import { fingerprintOf } from '../../../../src/server/requestIds/fingerprint.js';

const MEBIBYTE = 1 << 20;
const serialize = (request: object): Buffer => Buffer.from(WriteRequest.encode(request as WriteRequest).finish());
const of = (path: string, content: Buffer): Promise<string> => fingerprintOf(serialize, { path, content });

it('is the same for equal requests only', async () => {
  const small = Buffer.from('content');
  expect(await of('/a', small)).toBe(await of('/a', Buffer.from('content')));
  expect(await of('/a', small)).not.toBe(await of('/b', small));
  expect(await of('/a', small)).not.toBe(await of('/a', Buffer.from('contents')));
});

it('covers all of a large content, without a copy, and leaves the request as it is', async () => {
  const large = Buffer.alloc(12 * MEBIBYTE, 1);
  const request = { path: '/a', content: large };
  const one = await fingerprintOf(serialize, request);
  expect(request.content).toBe(large);
  large[large.length - 1] = 2;
  expect(await fingerprintOf(serialize, request)).not.toBe(one);
});

it('of a large content lets others run', async () => {
  let turns = 0;
  let over = false;
  const count = (): void => {
    turns += 1;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  await of('/a', Buffer.alloc(32 * MEBIBYTE));
  over = true;
  expect(turns).toBeGreaterThan(4);
});
