/** Client streams as a handler sees them: one message at a time, and an end only when the client meant it. */
import { connect, constants, type ClientHttp2Session } from 'node:http2';
import { Server, ServerCredentials, type ServerReadableStream } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { oneMessageAtATime, type HeldMessage } from '../../../src/server/requestFlow.js';

const same = (bytes: Buffer): Buffer => bytes;
const PATH = '/test.Service/Upload';

/** A message of gRPC: not compressed, with its length. */
function message(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

let server: Server;
let connection: ClientHttp2Session;
let called: Promise<ServerReadableStream<HeldMessage<Buffer>, Buffer>>;

beforeEach(async () => {
  server = new Server({ interceptors: [oneMessageAtATime] });
  called = new Promise((resolve) => {
    const definition = {
      path: PATH,
      requestStream: true,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
    server.addService(
      { upload: definition },
      { upload: (call: ServerReadableStream<HeldMessage<Buffer>, Buffer>) => resolve(call) },
    );
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  connection = connect(`http://127.0.0.1:${port}`);
});
afterEach(() => {
  connection.destroy();
  server.forceShutdown();
});

const open = () =>
  connection.request(
    { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' },
    { endStream: false },
  );

describe('a client stream', () => {
  it('is read one message at a time, and ends when the client ends it', async () => {
    const client = open();
    for (const text of ['a', 'b', 'c']) client.write(message(text));
    client.end();
    const call = await called;
    const seen: string[] = [];
    let held = 0;
    for await (const { message: bytes, release } of call as AsyncIterable<HeldMessage<Buffer>>) {
      held += 1;
      expect(held).toBe(1);
      seen.push(bytes.toString());
      await new Promise((resolve) => setImmediate(resolve));
      held -= 1;
      release();
    }
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  it.each([
    ['resets it', (client: ReturnType<typeof open>) => client.close(constants.NGHTTP2_CANCEL)],
    [
      'ends and resets it, as clients made with Node do',
      (client: ReturnType<typeof open>) => {
        client.end();
        client.close(constants.NGHTTP2_CANCEL);
      },
    ],
    ['loses its connection', () => connection.destroy()],
  ])('has no end when the client %s', async (_what, giveUp) => {
    const client = open();
    client.on('error', () => undefined);
    client.write(message('a'));
    const call = await called;
    let ends = 0;
    call.on('end', () => {
      ends += 1;
    });
    const closed = new Promise((resolve) => call.once('close', resolve));
    const cancelled = new Promise((resolve) => call.once('cancelled', resolve));
    await new Promise<void>((resolve) => {
      call.on('data', ({ release }: HeldMessage<Buffer>) => {
        release();
        resolve();
      });
    });
    giveUp(client);
    await Promise.all([cancelled, closed]);
    expect(ends).toBe(0);
  });
});
