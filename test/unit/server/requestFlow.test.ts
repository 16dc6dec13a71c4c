/** Client streams, as seen by a handler: one message at a time, and an end only if the client has sent everything. */
import { spawn } from 'node:child_process';
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { Client, credentials, Metadata, Server, ServerCredentials, type ServerReadableStream } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Undecodable } from '../../../src/server/decoding.js';
import { oneMessageAtATime, type HeldMessage } from '../../../src/server/requestFlow.js';
import { cuttableProxy } from '../../support/cuttableProxy.js';
import { frameRelay } from '../../support/frameRelay.js';

const same = (bytes: Buffer): Buffer => bytes;
const PATH = '/test.Service/Upload';

type Call = ServerReadableStream<HeldMessage<Buffer | Undecodable>, Buffer>;

/** A gRPC message: not compressed, with its length. */
function message(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

let server: Server;
let address: string;
let calls: Call[];
let arrived: () => void;
/** Resources to close after each test, the last first. */
let undo: (() => unknown)[];

beforeEach(async () => {
  undo = [];
  calls = [];
  arrived = () => undefined;
  server = new Server({ interceptors: [oneMessageAtATime] });
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
    {
      upload: (call: Call) => {
        calls.push(call);
        arrived();
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  address = `127.0.0.1:${port}`;
});
afterEach(async () => {
  for (const one of undo.reverse()) await one();
  server.forceShutdown();
});

/** The next call that arrives. */
async function nextCall(): Promise<Call> {
  while (calls.length === 0) {
    await new Promise<void>((resolve) => {
      arrived = resolve;
    });
  }
  return calls.shift() as Call;
}

function connectTo(where: string): ClientHttp2Session {
  const connection = connect(`http://${where}`);
  connection.on('error', () => undefined);
  undo.push(() => connection.destroy());
  return connection;
}

function open(connection: ClientHttp2Session): ClientHttp2Stream {
  const stream = connection.request(
    { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' },
    { endStream: false },
  );
  stream.on('error', () => undefined);
  return stream;
}

/** Reads a call to its end: complete, aborted, or broken. */
async function outcomeOf(call: Call): Promise<{ readonly messages: string[]; readonly end: string }> {
  const messages: string[] = [];
  const cancelled = new Promise<string>((resolve) => call.once('cancelled', () => resolve('given up')));
  const ended = new Promise<string>((resolve) => {
    call.on('end', () => resolve('whole'));
    call.on('data', ({ message: one, release }: HeldMessage<Buffer | Undecodable>) => {
      if (one instanceof Undecodable) resolve(one.error.reason);
      else messages.push(one.toString());
      release();
    });
  });
  return { messages, end: await Promise.race([ended, cancelled]) };
}

/** Resolves when the first message of a call has arrived; it can still be read. */
async function firstMessage(call: Call): Promise<void> {
  await new Promise((resolve) => call.once('readable', resolve));
}

/** A grpc-js client's call. */
function grpcCall(where: string) {
  const client = new Client(where, credentials.createInsecure());
  undo.push(() => client.close());
  const call = client.makeClientStreamRequest(PATH, same, same, new Metadata(), () => undefined);
  call.on('error', () => undefined);
  return call;
}

/** Ways to abort a call whose first message has arrived. */
const GIVEN_UP: [string, (stream: ClientHttp2Stream) => void][] = [
  ['closes the stream with CANCEL, which Node ends first', (stream) => stream.close(constants.NGHTTP2_CANCEL)],
  ['closes the stream with NO_ERROR', (stream) => stream.close(constants.NGHTTP2_NO_ERROR)],
  ['destroys the stream', (stream) => stream.destroy()],
  [
    'ends and resets the stream',
    (stream) => {
      stream.end();
      stream.close(constants.NGHTTP2_CANCEL);
    },
  ],
  [
    'ends it inside a message, and resets it',
    (stream) => {
      stream.write(message('bbbb').subarray(0, 7));
      stream.close(constants.NGHTTP2_CANCEL);
    },
  ],
];

describe('a client stream', () => {
  it('is read one message at a time, and ends when the client ends it', async () => {
    const client = open(connectTo(address));
    for (const text of ['a', 'b', 'c']) client.write(message(text));
    client.end();
    const call = await nextCall();
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

  it('ends for each of many that share a connection', async () => {
    const connection = connectTo(address);
    const clients = Array.from({ length: 40 }, () => open(connection));
    const ends: ReturnType<typeof outcomeOf>[] = [];
    for (const client of clients) {
      client.end(message('a'));
      ends.push(outcomeOf(await nextCall()));
    }
    expect(await Promise.all(ends)).toEqual(ends.map(() => ({ messages: ['a'], end: 'whole' })));
  });

  it.each<[string, (connection: ClientHttp2Session) => void]>([
    ['its client', (connection) => connection.close()],
    ['the server', () => server.tryShutdown(() => undefined)],
  ])('ends on a connection that %s is closing', async (_who, close) => {
    const connection = connectTo(address);
    const client = open(connection);
    client.write(message('a'));
    const call = await nextCall();
    close(connection);
    client.end(message('b'));
    expect(await outcomeOf(call)).toEqual({ messages: ['a', 'b'], end: 'whole' });
  });

  it.each([
    ['its length', 3],
    ['its contents', 7],
  ])('that the client ends inside a message, in %s, is broken', async (_where, size) => {
    const client = open(connectTo(address));
    client.write(message('a'));
    client.end(message('bbbb').subarray(0, size));
    expect(await outcomeOf(await nextCall())).toEqual({ messages: ['a'], end: 'UPLOAD_INCOMPLETE' });
  });

  describe.each<[string, 'apart' | 'together' | undefined]>([
    ['directly', undefined],
    ['through a relay that passes on frame by frame, slowly', 'apart'],
    ['through a relay that passes on many frames at once', 'together'],
  ])('%s', (_how, timing) => {
    let where: string;

    beforeEach(async () => {
      where = address;
      if (timing === undefined) return;
      const relay = await frameRelay(address, timing, 30);
      undo.push(() => relay.close());
      where = relay.address;
    });

    it('ends when the client ends it', async () => {
      const client = open(connectTo(where));
      client.write(message('a'));
      client.end(message('b'));
      expect(await outcomeOf(await nextCall())).toEqual({ messages: ['a', 'b'], end: 'whole' });
    });

    it.each(GIVEN_UP)('has no end when the client %s', async (_what, giveUp) => {
      const client = open(connectTo(where));
      client.write(message('a'));
      const call = await nextCall();
      await firstMessage(call);
      giveUp(client);
      expect(await outcomeOf(call)).toEqual({ messages: ['a'], end: 'given up' });
    });

    it('has no end when a grpc-js client cancels', async () => {
      const client = grpcCall(where);
      client.write(Buffer.from('a'));
      const call = await nextCall();
      await firstMessage(call);
      client.cancel();
      expect(await outcomeOf(call)).toEqual({ messages: ['a'], end: 'given up' });
    });
  });

  it('has no end when its client is killed', async () => {
    const script = `
      const stream = require('node:http2').connect('http://${address}').request(
        { ':method': 'POST', ':path': '${PATH}', 'content-type': 'application/grpc', te: 'trailers' }, { endStream: false });
      stream.write(Buffer.from('${message('a').toString('hex')}', 'hex'));`;
    const client = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
    undo.push(() => client.kill('SIGKILL'));
    const call = await nextCall();
    await firstMessage(call);
    client.kill('SIGKILL');
    expect(await outcomeOf(call)).toEqual({ messages: ['a'], end: 'given up' });
  });

  it('has no end when its connection is cut', async () => {
    const proxy = await cuttableProxy(address);
    undo.push(() => proxy.close());
    open(connectTo(proxy.address)).write(message('a'));
    const call = await nextCall();
    await firstMessage(call);
    proxy.cut();
    expect(await outcomeOf(call)).toEqual({ messages: ['a'], end: 'given up' });
  });

  it('has no end when its client closes the connection', async () => {
    const connection = connectTo(address);
    open(connection).write(message('a'));
    const call = await nextCall();
    await firstMessage(call);
    connection.destroy();
    expect(await outcomeOf(call)).toEqual({ messages: ['a'], end: 'given up' });
  });
});
