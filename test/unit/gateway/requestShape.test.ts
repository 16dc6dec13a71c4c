/** How many fields a request has, before it is decoded. */
import { create, toBinary, toJsonString, type DescMessage } from '@bufbuild/protobuf';
import { beforeAll, expect, it } from '@jest/globals';
import { readApi, type Api } from '../../../src/gateway/api.js';
import { checkShape } from '../../../src/gateway/requestShape.js';

let api: Api;
let request: DescMessage;
beforeAll(async () => {
  api = await readApi();
  request = api.registry.getMessage('guestfs.v1.CreateSessionRequest') as DescMessage;
});

const drive = { source: { case: 'path', value: 'a,b:c[d{e"f\\' } };
const of = (count: number): Parameters<typeof create>[1] => ({ drives: Array.from({ length: count }, () => drive) });

it.each([
  ['as many fields as are allowed', 12_000, undefined],
  ['more', 60_000, /more than 50000 fields/],
])('a request with %s', (_name, count, refusal) => {
  const message = create(request, of(count));
  const check = (encoding: 'json' | 'proto', text: Uint8Array | string) => () =>
    checkShape(request, encoding, Buffer.from(text as string));
  const checks = [check('proto', toBinary(request, message)), check('json', toJsonString(request, message))];
  for (const one of checks) {
    if (refusal === undefined) expect(one).not.toThrow();
    else expect(one).toThrow(refusal);
  }
});

it('marks in texts do not count', () => {
  const text = JSON.stringify({ sessionId: '[{,:"\\'.repeat(200_000) });
  expect(() => checkShape(request, 'json', Buffer.from(text))).not.toThrow();
});

it('a text without end is read once', () => {
  const before = process.cpuUsage().user;
  expect(() => checkShape(request, 'json', Buffer.from(`"${'\\'.repeat(8 << 20)}`))).not.toThrow();
  expect(() => checkShape(request, 'json', Buffer.from(`"${'\\"'.repeat(4 << 20)}`))).not.toThrow();
  expect((process.cpuUsage().user - before) / 1000).toBeLessThan(5000);
});

it('bytes that are no message are an invalid argument', () => {
  expect(() => checkShape(request, 'proto', Buffer.alloc(200_000, 0xff))).toThrow(/cannot be decoded/);
  expect(() => checkShape(request, 'proto', Buffer.alloc(200_000, 0x0b))).toThrow(/cannot be decoded/);
});
