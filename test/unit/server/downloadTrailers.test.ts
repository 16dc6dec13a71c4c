/** The trailers of a download, if its client requests them. */
import { createHash } from 'node:crypto';
import type { Metadata } from '@grpc/grpc-js';
import { credentials, status, type StatusObject } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TransferServiceClient, type DownloadResponse } from '../../../gen/proto/guestfs/v1/transfer.js';
import { crc32c } from '../../../src/common/crc32c.js';
import { pattern } from '../../fakes/files.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';
import { asFailure, sessionMetadata } from '../../support/testClient.js';

const FILE = pattern(300_000);
const SHA256 = createHash('sha256').update(FILE).digest('hex');
const CRC32C = crc32c(FILE).toString(16).padStart(8, '0');

let served: ServedSession;
let client: TransferServiceClient;
beforeAll(async () => {
  served = await servedSession();
  served.file = FILE;
  client = new TransferServiceClient(served.server.address, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await served.stop();
});

/** Downloads, and returns the file and how the call ended. */
async function download(asked?: string): Promise<{ file: Buffer; end: StatusObject }> {
  const metadata = sessionMetadata('test');
  if (asked !== undefined) metadata.set('guestfs-checksum', asked);
  const stream = client.download({ remotefilename: '/file' }, metadata);
  const chunks: Buffer[] = [];
  stream.on('data', ({ chunk }: DownloadResponse) => chunks.push(chunk));
  stream.on('error', () => undefined);
  const end = await new Promise<StatusObject>((resolve) => stream.once('status', resolve));
  return { file: Buffer.concat(chunks), end };
}

/** Our own trailers. */
function ours(metadata: Metadata): Record<string, unknown> {
  return Object.fromEntries(Object.entries(metadata.getMap()).filter(([key]) => key.startsWith('guestfs-')));
}

describe('the trailers of a download', () => {
  it.each<[string | undefined, object]>([
    [undefined, {}],
    ['sha256', { 'guestfs-size': '300000', 'guestfs-sha256': SHA256 }],
    ['crc32c', { 'guestfs-size': '300000', 'guestfs-crc32c': CRC32C }],
    ['sha256,crc32c', { 'guestfs-size': '300000', 'guestfs-sha256': SHA256, 'guestfs-crc32c': CRC32C }],
  ])('that asks for %s', async (asked, expected) => {
    const { file, end } = await download(asked);
    expect(end.code).toBe(status.OK);
    expect(file).toEqual(FILE);
    expect(ours(end.metadata)).toEqual(expected);
  });

  it('that asks for a checksum that does not exist: the call is refused', async () => {
    const { file, end } = await download('sha256,md5');
    expect(asFailure(end)).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining("guestfs-checksum: unknown checksum 'md5'"),
      info: { reason: 'BAD_ARGUMENT', fields: ['guestfs-checksum'] },
    });
    expect(file).toHaveLength(0);
  });

  it('of a failed one are empty', async () => {
    const metadata = sessionMetadata('another');
    metadata.set('guestfs-checksum', 'sha256');
    const stream = client.download({ remotefilename: '/file' }, metadata);
    stream.on('error', () => undefined);
    stream.resume();
    const end = await new Promise<StatusObject>((resolve) => stream.once('status', resolve));
    expect(end.code).toBe(status.NOT_FOUND);
    expect(ours(end.metadata)).toEqual({});
  });
});
