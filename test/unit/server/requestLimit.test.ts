/** What clients are told whose requests are over gRPC's limit. */
import { gzipSync } from 'node:zlib';
import { connect } from 'node:http2';
import { Client, credentials, Server, ServerCredentials, status, type ServerReadableStream } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { TransferServiceService } from '../../../gen/proto/guestfs/v1/transfer.js';
import { silentLogger } from '../../../src/common/logger.js';
import { decodingSafely } from '../../../src/server/decoding.js';
import { explainingRequestLimit, REQUEST_LIMIT } from '../../../src/server/requestLimit.js';
import { asFailure, failureOf } from '../../support/testClient.js';

let server: Server;
let client: Client;
let port: number;
/** Sizes of contents that were taken. */
let taken: number[];
/** Called when an upload is at its end. */
let cancelled: () => void = () => undefined;

beforeEach(async () => {
  taken = [];
  server = new Server({ 'grpc.max_receive_message_length': REQUEST_LIMIT, interceptors: [explainingRequestLimit(silentLogger)] });
  const pick = (definition: object, ...names: string[]) => Object.fromEntries(Object.entries(definition).filter(([name]) => names.includes(name)));
  server.addService(decodingSafely(pick(FileServiceService, 'write', 'mkdir')), {
    write: (call: { request: { content: Buffer } }, callback: (error: null, value: object) => void) => {
      taken.push(call.request.content.length);
      callback(null, {});
    },
    mkdir: (_call: unknown, callback: (error: object) => void) => callback({ code: status.RESOURCE_EXHAUSTED, details: 'No space left on device' }),
  });
  server.addService(decodingSafely(pick(TransferServiceService, 'upload')), { upload: (call: ServerReadableStream<unknown, object>) => void call.once('cancelled', () => cancelled()).resume() });
  const other = { path: '/other.Service/Call', requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
  server.addService({ call: other }, { call: () => undefined });
  port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
});
afterEach(() => {
  client.close();
  server.forceShutdown();
});

const same = (bytes: Buffer): Buffer => bytes;
const { write, mkdir } = FileServiceService;

function send(path: string, bytes: Buffer): Promise<unknown> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, bytes, (error, value) => (error ? reject(asFailure(error)) : resolve(value)));
  });
}

const contentOf = (size: number): Buffer => write.requestSerialize({ path: '/a', content: Buffer.alloc(size) });

describe('a request over the limit', () => {
  it('is refused with what to use instead', async () => {
    const request = contentOf(REQUEST_LIMIT);
    expect(await failureOf(send(write.path, request))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: `write: the arguments make a message of ${request.length} bytes; the server takes at most ${REQUEST_LIMIT} bytes; use Upload, which streams`,
      info: { reason: 'MESSAGE_TOO_LARGE', metadata: { action: 'write', limit: String(REQUEST_LIMIT), size: String(request.length) } },
    });
    expect(taken).toEqual([]);
  });

  it('is refused so when it is compressed, too', async () => {
    const bytes = gzipSync(contentOf(REQUEST_LIMIT));
    const head = Buffer.alloc(5, 1);
    head.writeUInt32BE(bytes.length, 1);
    const connection = connect(`http://127.0.0.1:${port}`);
    const stream = connection.request({ ':method': 'POST', ':path': write.path, 'content-type': 'application/grpc', te: 'trailers', 'grpc-encoding': 'gzip' });
    stream.end(Buffer.concat([head, bytes]));
    const headers = await new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve));
    connection.destroy();
    expect(headers).toMatchObject({ 'grpc-status': String(status.RESOURCE_EXHAUSTED), 'grpc-status-details-bin': expect.anything() });
    expect(decodeURI(String(headers['grpc-message']))).toContain(`more than ${REQUEST_LIMIT} bytes; the server takes at most ${REQUEST_LIMIT} bytes; use Upload`);
  });

  it('is not one that is just within it', async () => {
    const size = REQUEST_LIMIT - (contentOf(REQUEST_LIMIT).length - REQUEST_LIMIT);
    expect(contentOf(size).length).toBe(REQUEST_LIMIT);
    await send(write.path, contentOf(size));
    expect(taken).toEqual([size]);
  });

  it('is a chunk too large where the request is a stream', async () => {
    const gone = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const failure = await failureOf(new Promise((resolve, reject) => {
      const stream = client.makeClientStreamRequest(TransferServiceService.upload.path, same, same, (error, value) => (error ? reject(asFailure(error)) : resolve(value)));
      stream.write(Buffer.alloc(REQUEST_LIMIT + 1));
    }));
    expect(failure).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: expect.stringContaining('send more and smaller chunks'), info: { reason: 'CHUNK_TOO_LARGE', metadata: { action: 'upload' } } });
    await gone;
  });
});

describe('other ends of calls', () => {
  it('that have the same status are passed on', async () => {
    expect(await failureOf(send(mkdir.path, Buffer.alloc(0)))).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: 'No space left on device', info: undefined });
  });

  it('of services that are not ours are left alone', async () => {
    expect(await failureOf(send('/other.Service/Call', Buffer.alloc(REQUEST_LIMIT + 1)))).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: expect.stringContaining('larger than max'), info: undefined });
  });
});
