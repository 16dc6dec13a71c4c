import { Client, credentials, Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { describe, expect, it } from '@jest/globals';
import { DownloadResponse, TransferServiceService, UploadRequest } from '../../../gen/proto/guestfs/v1/transfer.js';
import { decodingSafely } from '../../../src/server/decoding.js';
import { chunkMessage, encodeFilePieces, FilePieces } from '../../../src/server/fileMessages.js';
import { pattern } from '../../fakes/files.js';

const LENGTHS = [0, 1, 127, 128, 16_383, 16_384, 131_072, 2_097_151, 2_097_152];

const encoded = (message: UploadRequest): Buffer => Buffer.from(UploadRequest.encode(message).finish());
const ofChunk = (value: Buffer): Buffer => encoded({ payload: { $case: 'chunk', value } });

describe('a chunk from a client', () => {
  it.each(LENGTHS)('of %i bytes is read as the generated decoder reads it, and not copied', (length) => {
    const bytes = ofChunk(pattern(length));
    const message = chunkMessage(bytes);
    expect(message).toEqual(UploadRequest.decode(bytes));
    expect(message?.payload?.value).toMatchObject({ buffer: bytes.buffer });
  });

  it.each([
    ['the arguments', encoded({ payload: { $case: 'arguments', value: { remotefilename: '/x', progress_hint: 3n } } })],
    ['nothing', Buffer.alloc(0)],
    ['an incomplete chunk', ofChunk(pattern(10)).subarray(0, 8)],
    ['a tag only', Buffer.of(0x12)],
    ['a chunk and something else', Buffer.concat([ofChunk(pattern(10)), ofChunk(pattern(3))])],
    ['a length that does not end', Buffer.alloc(12, 0xff).fill(0x12, 0, 1)],
  ])('is not recognised in a message with %s', (_what, bytes) => {
    expect(chunkMessage(bytes)).toBeUndefined();
  });
});

describe('data for a client', () => {
  it.each(LENGTHS)('is one chunk, of %i bytes in total', (length) => {
    const data = pattern(length);
    const pieces = new FilePieces([data.subarray(0, length >> 1), Buffer.alloc(0), data.subarray(length >> 1)]);
    expect(DownloadResponse.decode(encodeFilePieces(pieces)).chunk.equals(data)).toBe(true);
  });

  it('arrives unchanged, although the next is encoded before this is sent', async () => {
    const files = Array.from({ length: 20 }, (_unused, index) => pattern(100_000, index));
    const server = new Server();
    const { download } = decodingSafely(TransferServiceService);
    if (download === undefined) throw new Error('no such RPC');
    server.addService(
      { download },
      {
        download: (call: ServerWritableStream<unknown, object>) => {
          for (const file of files) call.write(new FilePieces([file]));
          call.end();
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    const { path, requestSerialize, responseDeserialize } = TransferServiceService.download;
    const got: Buffer[] = [];
    for await (const { chunk } of client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {
      remotefilename: '/x',
    }))
      got.push(chunk);
    client.close();
    server.forceShutdown();
    expect(got.map((chunk, index) => chunk.equals(files[index] ?? Buffer.alloc(0)))).toEqual(files.map(() => true));
  });
});
