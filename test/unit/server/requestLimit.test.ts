/** The errors for requests over gRPC's limit. */
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { Client, credentials, Server, ServerCredentials, status, type ServerReadableStream } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { TransferServiceService } from '../../../gen/proto/guestfs/v1/transfer.js';
import { silentLogger } from '../../../src/common/logger.js';
import { REQUEST_LIMIT } from '../../../src/common/messageLimits.js';
import { decodingSafely, Undecodable } from '../../../src/server/decoding.js';
import { FlowWindows } from '../../../src/server/flowWindows.js';
import { RequestMemory } from '../../../src/server/requestMemory.js';
import { whileHeld } from '../../../src/server/requestReader.js';
import { oneMessageAtATime, type HeldMessage } from '../../../src/server/requestFlow.js';
import { limitingRequests, SMALL_REQUEST_MEMORY } from '../../../src/server/requestLimit.js';
import { rawUnary, rawUpload } from '../../support/rawCalls.js';
import { failureOf } from '../../support/testClient.js';

/** For the tests of stalls; the others have no such limit, as the machine may be busy. */
const STALL_MS = 1000;
let stallMs = 60_000;
jest.setTimeout(60_000);

/** In this block, requests that stall are ended soon. */
function withStalls(): void {
  beforeAll(() => {
    stallMs = STALL_MS;
  });
  afterAll(() => {
    stallMs = 60_000;
  });
}

/** The client's identity, for the server. */
const ADDRESS = '127.0.0.1';

let server: Server;
let client: Client;
let port: number;
/** Sizes of accepted contents. */
let taken: number[];
let memory: RequestMemory;
/** What a handler waits for before it answers. */
let hold: Promise<void>;
/** Called at the end of an upload. */
let cancelled: () => void = () => undefined;

beforeEach(async () => {
  taken = [];
  memory = new RequestMemory(2 * REQUEST_LIMIT);
  hold = Promise.resolve();
  server = new Server({
    'grpc.max_receive_message_length': REQUEST_LIMIT,
    interceptors: [
      limitingRequests({
        clientOf: () => ADDRESS,
        windows: new FlowWindows(),
        memory,
        stallMs,
        admit: () => undefined,
        logger: silentLogger,
      }),
      oneMessageAtATime,
    ],
  });
  const pick = (definition: object, ...names: string[]) =>
    Object.fromEntries(Object.entries(definition).filter(([name]) => names.includes(name)));
  server.addService(decodingSafely(pick(FileServiceService, 'write', 'mkdir', 'pwrite')), {
    write: (
      call: { request: { content: Buffer } | Undecodable },
      callback: (error: object | null, value: object) => void,
    ) => {
      if (call.request instanceof Undecodable) {
        callback({ code: status.INVALID_ARGUMENT, details: call.request.error.message }, {});
        return;
      }
      taken.push(call.request.content.length);
      void whileHeld(call.request, () => hold).then(() => callback(null, {}));
    },
    pwrite: (call: { request: { content: Buffer } }, callback: (error: null, value: object) => void) => {
      taken.push(call.request.content.length);
      callback(null, { nbytes: 0 });
    },
    mkdir: (_call: unknown, callback: (error: object) => void) =>
      callback({ code: status.RESOURCE_EXHAUSTED, details: 'No space left on device' }),
  });
  server.addService(decodingSafely(pick(TransferServiceService, 'upload')), {
    upload: (call: ServerReadableStream<HeldMessage<unknown>, object>) =>
      void call.once('cancelled', () => cancelled()).on('data', ({ release }: HeldMessage<unknown>) => release()),
  });
  const other = {
    path: '/other.Service/Call',
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService({ call: other }, { call: () => undefined });
  port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
});
afterEach(() => {
  client.close();
  server.forceShutdown();
});

const same = (bytes: Buffer): Buffer => bytes;
const { write, pwrite, mkdir } = FileServiceService;

function send(path: string, bytes: Buffer): Promise<unknown> {
  return rawUnary({ channel: client }, path, bytes);
}

/** A request, of write or of pwrite, whose message has a size. */
function ofSize(size: number): Buffer {
  const more = write.requestSerialize({ path: '/a', content: Buffer.alloc(size) }).length - size;
  const request = write.requestSerialize({ path: '/a', content: Buffer.alloc(size - more) });
  expect(request.length).toBe(size);
  return request;
}

/** A call whose bytes the test sends itself. */
function rawCall(
  path: string,
  headers: object = {},
): {
  readonly connection: ClientHttp2Session;
  readonly stream: ClientHttp2Stream;
  readonly status: Promise<Record<string, unknown>>;
} {
  const connection = connect(`http://127.0.0.1:${port}`);
  const stream = connection.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  return { connection, stream, status: new Promise((resolve) => stream.once('response', resolve)) };
}

/** The prefix of a message. */
function header(size: number, compressed = 0): Buffer {
  const bytes = Buffer.alloc(5, compressed);
  bytes.writeUInt32BE(size, 1);
  return bytes;
}

/** Until the server holds as much as this for large requests. */
async function untilFree(bytes: number): Promise<void> {
  while (memory.freeFor(ADDRESS) !== bytes) await setTimeout(1);
}

describe('a request over the limit', () => {
  it('is refused with an alternative', async () => {
    expect(await failureOf(send(pwrite.path, ofSize(REQUEST_LIMIT + 1)))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: `pwrite: the arguments make a message of ${REQUEST_LIMIT + 1} bytes; the server accepts at most ${REQUEST_LIMIT} bytes; use UploadOffset, which streams, or write less at a time`,
      info: {
        reason: 'MESSAGE_TOO_LARGE',
        metadata: { action: 'pwrite', limit: String(REQUEST_LIMIT), size: String(REQUEST_LIMIT + 1) },
      },
    });
    expect(taken).toEqual([]);
  });

  it.each([
    [pwrite.path, 'the server accepts', 'use UploadOffset'],
    [write.path, 'the decompression accepts', 'use Upload'],
  ])('is refused in the same way if it is compressed: %s', async (path, who, instead) => {
    const bytes = gzipSync(ofSize(REQUEST_LIMIT + 1));
    const { connection, stream, status: ended } = rawCall(path, { 'grpc-encoding': 'gzip' });
    stream.end(Buffer.concat([header(bytes.length, 1), bytes]));
    const headers = await ended;
    connection.destroy();
    expect(headers).toMatchObject({
      'grpc-status': String(status.RESOURCE_EXHAUSTED),
      'grpc-status-details-bin': expect.anything(),
    });
    expect(decodeURI(String(headers['grpc-message']))).toContain(
      `more than ${REQUEST_LIMIT} bytes; ${who} at most ${REQUEST_LIMIT} bytes; ${instead}`,
    );
  });

  it('does not include one that is just within it', async () => {
    await send(pwrite.path, ofSize(REQUEST_LIMIT));
    expect(taken).toHaveLength(1);
  });

  it('is a chunk that is too large if the request is a stream', async () => {
    const gone = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const failure = await failureOf(
      rawUpload({ channel: client }, TransferServiceService.upload.path, Buffer.alloc(REQUEST_LIMIT + 1)),
    );
    expect(failure).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('send more and smaller chunks'),
      info: { reason: 'CHUNK_TOO_LARGE', metadata: { action: 'upload' } },
    });
    await gone;
  });
});

describe('a request of an action that accepts content of any size', () => {
  it('may be as large as the memory for large requests, which is free again afterwards', async () => {
    for (let round = 0; round < 2; round += 1) {
      await send(write.path, ofSize(memory.size));
      await untilFree(memory.size);
    }
    expect(taken).toHaveLength(2);
  });

  it('is refused if it is larger, before it is sent', async () => {
    const { connection, stream, status: ended } = rawCall(write.path);
    stream.write(header(memory.size + 1));
    const message = decodeURI(String((await ended)['grpc-message']));
    connection.destroy();
    expect(message).toBe(
      `write: the arguments make a message of ${memory.size + 1} bytes; the server accepts at most ${memory.size} bytes; use Upload, which streams`,
    );
    expect(memory.freeFor(ADDRESS)).toBe(memory.size);
  });

  it('is refused only while others use the memory, with a retry delay', async () => {
    let release = (): void => undefined;
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const first = send(write.path, ofSize(REQUEST_LIMIT + 100));
    await untilFree(REQUEST_LIMIT - 100);
    const large = ofSize(REQUEST_LIMIT + 1);
    expect(await failureOf(send(write.path, large))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('try again later'),
      info: { reason: 'OUT_OF_MEMORY', metadata: { action: 'write', limit: String(memory.size) } },
    });
    const small = send(write.path, ofSize(REQUEST_LIMIT));
    release();
    await Promise.all([first, small]);
    await untilFree(memory.size);
    await send(write.path, large);
    expect(taken).toHaveLength(3);
  });

  it('takes memory only for the data that has arrived, until its client disconnects', async () => {
    const { connection, stream } = rawCall(write.path);
    stream.write(Buffer.concat([header(memory.size), Buffer.alloc(1000)]));
    await untilFree(memory.size - 1000);
    stream.write(Buffer.alloc(24));
    await untilFree(memory.size - 1024);
    connection.destroy();
    await untilFree(memory.size);
    expect(taken).toEqual([]);
  });

  it('keeps its memory while its content is used, even if its client disconnects', async () => {
    let release = (): void => undefined;
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const gone = client.makeUnaryRequest(write.path, same, same, ofSize(REQUEST_LIMIT + 100), () => undefined);
    while (taken.length === 0) await setTimeout(1);
    gone.cancel();
    await failureOf(send(write.path, ofSize(REQUEST_LIMIT + 1)));
    expect(memory.freeFor(ADDRESS)).toBe(REQUEST_LIMIT - 100);
    release();
    await untilFree(memory.size);
  });

  it('cannot contain a string of that size', async () => {
    const request = write.requestSerialize({ path: '/'.repeat(REQUEST_LIMIT + 1), content: Buffer.alloc(0) });
    expect(await failureOf(send(write.path, request))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(`a string of ${REQUEST_LIMIT + 1} bytes`),
    });
  });

  it('can arrive in pieces of any length', async () => {
    const request = ofSize(300);
    const bytes = Buffer.concat([header(request.length), request]);
    const { connection, stream, status: ended } = rawCall(write.path);
    for (const byte of bytes) {
      stream.write(Buffer.of(byte));
      await setImmediate();
    }
    stream.end();
    expect(await ended).toMatchObject({ ':status': 200 });
    connection.destroy();
    expect(taken).toEqual([300 - (request.length - write.requestDeserialize(request).content.length)]);
  });
});

describe('other ends of calls', () => {
  it('that have the same status are passed on', async () => {
    expect(await failureOf(send(mkdir.path, Buffer.alloc(0)))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: 'No space left on device',
      info: undefined,
    });
  });

  it('of other services are small', async () => {
    expect(await failureOf(send('/other.Service/Call', Buffer.alloc(64 * 1024 + 1)))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      info: { reason: 'MESSAGE_TOO_LARGE', metadata: expect.objectContaining({ limit: '65536' }) },
    });
  });
});

describe('a request that is not large', () => {
  /** Nearly all of a message; the rest never arrives. */
  function halfSent(path: string, size: number): ReturnType<typeof rawCall> {
    const call = rawCall(path);
    call.stream.on('error', () => undefined);
    call.stream.write(Buffer.concat([header(size), Buffer.alloc(size - 100)]));
    return call;
  }

  it('takes its share of the memory as it arrives, and no more than is left by others', async () => {
    const calls = Array.from({ length: SMALL_REQUEST_MEMORY / REQUEST_LIMIT + 2 }, () =>
      halfSent(pwrite.path, REQUEST_LIMIT - 64),
    );
    const refused = await Promise.race(calls.map(({ status: ended }) => ended));
    expect(refused).toMatchObject({ 'grpc-status': String(status.RESOURCE_EXHAUSTED) });
    expect(decodeURI(String(refused['grpc-message']))).toContain('try again later');
    // Small ones continue meanwhile.
    await send(pwrite.path, ofSize(1000));
    for (const { connection } of calls) connection.destroy();
  });

  it('releases the memory of each message of a stream once it has been used', async () => {
    const { connection, stream } = rawCall(TransferServiceService.upload.path);
    const chunk = Buffer.concat([header(1024 * 1024), Buffer.alloc(1024 * 1024)]);
    // Twice the available memory: otherwise the stream would be refused.
    for (let sent = 0; sent < 2 * SMALL_REQUEST_MEMORY; sent += chunk.length)
      await new Promise((resolve) => stream.write(chunk, resolve));
    expect(stream.closed).toBe(false);
    connection.destroy();
  });
});

describe('a request that stalls', () => {
  withStalls();

  it('is refused if its client stops in the middle of it', async () => {
    const { connection, stream, status: ended } = rawCall(write.path);
    stream.write(Buffer.concat([header(memory.size), Buffer.alloc(100_000)]));
    await untilFree(memory.size - 100_000);
    await setTimeout(STALL_MS / 2);
    stream.write(Buffer.alloc(50_000));
    await untilFree(memory.size - 150_000);
    expect(await ended).toMatchObject({ 'grpc-status': String(status.DEADLINE_EXCEEDED) });
    expect(decodeURI(String((await ended)['grpc-message']))).toBe(
      `write: less than 65536 bytes of the request came in ${STALL_MS / 1000} s`,
    );
    await untilFree(memory.size);
    connection.destroy();
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['half a header', Buffer.alloc(3)],
    ['half a message', Buffer.concat([header(1000), Buffer.alloc(500)])],
    ['a message, and no end', Buffer.concat([header(0)])],
  ])('ends when its client sends %s', async (_what, bytes) => {
    const { connection, stream, status: ended } = rawCall(pwrite.path);
    if (bytes.length > 0) stream.write(bytes);
    const closed = once(stream, 'close');
    expect(await ended).toMatchObject({ 'grpc-status': String(status.DEADLINE_EXCEEDED) });
    await closed;
    connection.destroy();
  });

  it('of a stream ends as well, while its handler waits for more', async () => {
    const { connection, stream, status: ended } = rawCall(TransferServiceService.upload.path);
    stream.write(Buffer.concat([header(0)]));
    expect(await ended).toMatchObject({ 'grpc-status': String(status.DEADLINE_EXCEEDED) });
    connection.destroy();
  });
});
