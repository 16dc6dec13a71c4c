/** The members of grpc-js that `grpcInternals.ts` relies on: fails if they differ in another version. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  status,
  type ServerInterceptor,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  http2StreamOf,
  isInsideMessage,
  replaceDecoder,
  replaceStatus,
  type InterceptedCall,
} from '../../../src/server/grpcInternals.js';

const PATH = '/test.Service/Call';
const LIMIT = 100;

function message(contents: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(contents.length, 1);
  return Buffer.concat([head, contents]);
}

let server: Server | undefined;
let connection: ClientHttp2Session | undefined;

afterEach(() => {
  connection?.destroy();
  server?.forceShutdown();
});

/** A call to a server with this as its only interceptor, and with this handler. */
async function call(
  intercept: (call: InterceptedCall) => void,
  handler: UntypedHandleCall = () => undefined,
  serialize: (value: Buffer) => Buffer = (value) => value,
): Promise<ClientHttp2Stream> {
  const interceptor: ServerInterceptor = (_method, base) => {
    intercept(base);
    return base as ServerInterceptingCall;
  };
  server = new Server({ interceptors: [interceptor], 'grpc.max_receive_message_length': LIMIT });
  const same = (bytes: Buffer): Buffer => bytes;
  server.addService(
    {
      call: {
        path: PATH,
        requestStream: false,
        responseStream: true,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: serialize,
        responseDeserialize: same,
      },
    },
    { call: handler },
  );
  const { port } = await new Promise<{ port: number }>((resolve, reject) => {
    server?.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve({ port: bound }),
    );
  });
  connection = connect(`http://127.0.0.1:${port}`);
  return connection.request(
    { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc', te: 'trailers' },
    { endStream: false },
  );
}

/** The status in the headers of an answer without messages. */
async function answerOf(stream: ClientHttp2Stream): Promise<IncomingHttpHeaders> {
  return new Promise((resolve) => stream.once('response', resolve));
}

describe('grpc-js', () => {
  it('is the version that package.json names, exactly', () => {
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { version: string };
    expect(dependencies['@grpc/grpc-js']).toBe(version);
  });

  it('gives interceptors a call with the HTTP/2 stream, also below other interceptors', async () => {
    const seen = new Promise<InterceptedCall>((resolve) => void call(resolve));
    const base = await seen;
    const above = new ServerInterceptingCall(new ServerInterceptingCall(base));
    const stream = http2StreamOf(base);
    expect(http2StreamOf(above)).toBe(stream);
    expect(stream).toMatchObject({ closed: false, destroyed: false, readable: true });
    expect(typeof stream.session?.ping).toBe('function');
    const closed = new Promise((resolve) => stream.once('close', resolve));
    connection?.destroy();
    await closed;
    expect(stream.closed).toBe(true);
  });

  it.each([
    [0, false],
    [1, true],
    [4, true],
    [5, true],
    [7, true],
    [8, false],
    [9, true],
  ])('detects after %d bytes of two messages of 8 whether one is incomplete: %s', async (size, inside) => {
    const seen = new Promise<InterceptedCall>((resolve) => {
      void call(resolve).then((stream) =>
        stream.write(Buffer.concat([message(Buffer.from('abc')), message(Buffer.from('def'))]).subarray(0, size)),
      );
    });
    const base = await seen;
    const stream = http2StreamOf(base);
    if (size > 0) {
      await new Promise<void>((resolve) => {
        stream.on('data', () => resolve());
        base.startRead();
      });
    }
    expect(isInsideMessage(base)).toBe(inside);
  });

  it('has its messages split by a decoder that replaces its own, and reports its errors', async () => {
    const pieces: Buffer[] = [];
    const stream = await call((base) =>
      replaceDecoder(base, {
        readState: 0,
        write: (data) => {
          pieces.push(data);
          throw new Error('not this');
        },
      }),
    );
    stream.write('anything');
    expect(await answerOf(stream)).toMatchObject({
      'grpc-status': String(status.RESOURCE_EXHAUSTED),
      'grpc-message': 'not%20this',
    });
    expect(Buffer.concat(pieces).toString()).toBe('anything');
  });

  it('refuses messages over the limit through the replaced method, with a known text', async () => {
    const stream = await call((base) => {
      replaceStatus(base, (sent) => ({
        code: status.ABORTED,
        details: `replaced ${sent.code}: ${sent.details ?? ''}`,
      }));
    });
    stream.write(message(Buffer.alloc(LIMIT + 1)));
    const answer = await answerOf(stream);
    expect(answer['grpc-status']).toBe(String(status.ABORTED));
    expect(decodeURI(String(answer['grpc-message']))).toBe(
      `replaced ${status.RESOURCE_EXHAUSTED}: Received message larger than max (${LIMIT + 1} vs ${LIMIT})`,
    );
  });

  it('copies serialized data before it continues, so that a buffer can be reused', async () => {
    const scratch = Buffer.alloc(4);
    const handler = (one: { write(value: Buffer): void; end(): void }): void => {
      for (const text of ['aaaa', 'bbbb', 'cccc']) one.write(Buffer.from(text));
      one.end();
    };
    const stream = await call(
      () => undefined,
      handler,
      (value) => {
        value.copy(scratch);
        return scratch;
      },
    );
    stream.end(message(Buffer.from('go')));
    const parts: Buffer[] = [];
    for await (const part of stream) parts.push(part as Buffer);
    expect(Buffer.concat(parts)).toEqual(
      Buffer.concat(['aaaa', 'bbbb', 'cccc'].map((text) => message(Buffer.from(text)))),
    );
  });

  it('is refused if it lacks these members', () => {
    expect(() => http2StreamOf({} as InterceptedCall)).toThrow('grpc-js has changed');
  });
});
