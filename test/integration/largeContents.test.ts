/** Contents in one message: longer than a request to the daemon can be, and longer than a client can receive. */
import { createHash, randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
/** Up to here the server passes contents on in the request; the library's limit. */
const INLINE = 2 * MEBIBYTE;
/** Capacity of one message, without the overhead. */
const ANSWER = 4 * MEBIBYTE;

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describeWithAppliance('the contents of a file', () => {
  const scene = serverForTests();
  let session: SessionClient;

  beforeAll(async () => {
    session = await launchSession(scene.client, [scratchDrive(128 * MEBIBYTE)]);
    await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
  });
  // Whatever was refused, the conversation with the daemon is in step.
  afterEach(async () => {
    await session.call('ping_daemon');
  });

  const inGuest = async (path: string): Promise<string> => session.call('checksum', { csumtype: 'sha256', path });

  it.each([
    ['just short enough for a request', INLINE],
    ['one byte too long for it', INLINE + 1],
    ['too long for most requests', 24 * MEBIBYTE + 13],
  ])('are written completely if they are %s', async (_what, size) => {
    const content = randomBytes(size);
    await session.call('write', { path: '/written', content });
    expect(await inGuest('/written')).toBe(sha256(content));
  });

  it('are replaced, not overwritten, by shorter ones', async () => {
    await session.call('write', { path: '/shorter', content: randomBytes(5 * MEBIBYTE) });
    const content = randomBytes(3 * MEBIBYTE);
    await session.call('write', { path: '/shorter', content });
    expect(await session.call('filesize', { file: '/shorter' })).toBe(BigInt(content.length));
    expect(await inGuest('/shorter')).toBe(sha256(content));
  });

  it('are appended completely to the existing content', async () => {
    const parts = [
      randomBytes(1000),
      randomBytes(3 * MEBIBYTE),
      randomBytes(9 * MEBIBYTE),
      randomBytes(10),
      randomBytes(INLINE + 1),
    ];
    await session.call('write', { path: '/appended', content: parts[0] });
    for (const content of parts.slice(1)) await session.call('write_append', { path: '/appended', content });
    expect(await inGuest('/appended')).toBe(sha256(Buffer.concat(parts)));
  });

  it('cannot be written where there is no directory, or no room', async () => {
    for (const action of ['write', 'write_append']) {
      const failure = await session.failure(action, { path: '/none/file', content: Buffer.alloc(3 * MEBIBYTE) });
      expect(failure).toMatchObject({ code: status.NOT_FOUND, info: { reason: 'ENOENT', metadata: { action } } });
    }
  });

  it('are read up to the capacity of a message', async () => {
    const content = Buffer.alloc(ANSWER - 8192, 'line of text\n');
    await session.call('write', { path: '/fits', content });
    expect(((await session.call('read_file', { path: '/fits' })) as Buffer).equals(content)).toBe(true);
    expect(await session.call('cat', { path: '/fits' })).toBe(content.toString());
  });

  it.each(['cat', 'read_file', 'read_lines'])('are refused beyond that, naming what streams: %s', async (action) => {
    await session.call('fill', { c: 0x61, len: ANSWER + MEBIBYTE, path: '/long' });
    const failure = await session.failure(action, { path: '/long' });
    expect(failure).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('use Download'),
      info: { reason: 'MESSAGE_TOO_LARGE', metadata: { action } },
    });
    expect(failure.details).toContain(failure.info?.metadata['limit']);
    expect((await session.download('download', { remotefilename: '/long' })).length).toBe(ANSWER + MEBIBYTE);
  });

  it('are refused when it is their lines that are too many for a message', async () => {
    await session.call('fill', { c: 0x0a, len: 3 * MEBIBYTE, path: '/lines' });
    expect(await session.failure('read_lines', { path: '/lines' })).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      info: { reason: 'MESSAGE_TOO_LARGE' },
    });
    expect(await session.call('cat', { path: '/lines' })).toHaveLength(3 * MEBIBYTE);
  });

  it('are lines with or without an end, with the line ends of DOS or not', async () => {
    await session.call('write', { path: '/few', content: Buffer.from('one\r\ntwo\n\nfour') });
    expect(await session.call('read_lines', { path: '/few' })).toEqual(['one', 'two', '', 'four']);
  });
});
