/** What clients of the gateway can do to it, and to its other clients. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { REQUEST_LIMIT } from '../../../src/common/messageLimits.js';
import { http, rawConnection, startGateway, type FakeGateway } from '../../fakes/gateway.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { eventually } from '../../support/eventually.js';

const LIST = '/guestfs.v1.SessionService/ListSessions';
const CREATE = '/guestfs.v1.SessionService/CreateSession';
const JSON_TYPE = { 'content-type': 'application/json' };
/** Limits that a test does not have to wait for. */
const LIMITS = { connections: 20, callsPerClient: 5, headersMs: 300, stallMs: 300 };

const head = (path: string, ...headers: readonly string[]): string =>
  [`POST ${path} HTTP/1.1`, 'Host: localhost', 'Content-Type: application/json', ...headers, '', ''].join('\r\n');

jest.setTimeout(30_000);

let server: FakeServer;
let served: ServedSession;
let gateway: FakeGateway;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false });
  served = await servedSession();
  gateway = await startGateway(server.address, { limits: LIMITS });
}, 60_000);
afterAll(async () => {
  await gateway.stop();
  await served.stop();
  await server.stop();
});

/** Another client is served. */
async function bystander(on: FakeGateway = gateway): Promise<void> {
  expect((await http(on.address, LIST, { headers: JSON_TYPE, body: '{}' })).status).toBe(200);
}

describe('a slow client', () => {
  it.each<[string, string]>([
    ['that sends nothing', ''],
    ['that does not end its headers', `POST ${LIST} HTTP/1.1\r\nHost: localhost\r\nX: `],
    ['that does not send the body that it has announced', `${head(LIST, 'Content-Length: 2')}{`],
    ['that does not end its chunks', `${head(LIST, 'Transfer-Encoding: chunked')}1\r\n{\r\n`],
  ])('%s is disconnected', async (_name, text) => {
    const { socket, closed } = rawConnection(gateway.address);
    socket.write(text);
    await once(socket, 'connect');
    const drip = setInterval(() => text !== '' && !text.includes('\r\n\r\n') && socket.write('x'), 50);
    // Of a client without a request, only the headers' time counts once it has sent something.
    if (text === '') socket.write('P');
    const answer = await closed;
    clearInterval(drip);
    expect(answer).not.toMatch(/^HTTP\/1\.1 200/);
    await bystander();
  });

  it('that reads no answers is disconnected', async () => {
    served.file = Buffer.alloc(64 << 20, 1);
    const files = await startGateway(served.server.address, { limits: LIMITS });
    try {
      const { socket } = rawConnection(files.address);
      const message = '{"remotefilename":"/file"}';
      const envelope = Buffer.alloc(5);
      envelope.writeUInt32BE(message.length, 1);
      socket.write(
        `POST /guestfs.v1.TransferService/Download HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\nguestfs-session: test\r\nContent-Length: ${message.length + 5}\r\n\r\n`,
      );
      socket.write(Buffer.concat([envelope, Buffer.from(message)]));
      socket.pause();
      // What it holds back is given up, so that the session is free again.
      await eventually(() => served.session.calls.all.length > 0);
      await eventually(() => served.session.calls.all.length === 0);
      socket.destroy();
    } finally {
      await files.stop();
    }
  }, 30_000);
});

describe('a large request', () => {
  const over = REQUEST_LIMIT + 100;

  it('that is announced is refused before it is sent', async () => {
    const { socket, closed } = rawConnection(gateway.address);
    socket.write(head(CREATE, `Content-Length: ${over}`));
    expect(await closed).toMatch(/^HTTP\/1\.1 429[^]*resource_exhausted[^]*8388608/);
  });

  it('that is not announced is refused when it is too large', async () => {
    const { socket, closed } = rawConnection(gateway.address);
    socket.write(head(CREATE, 'Transfer-Encoding: chunked'));
    const chunk = Buffer.alloc(1 << 20, ' ');
    while (!socket.destroyed && socket.bytesWritten < 4 * over) {
      socket.write(`${chunk.length.toString(16)}\r\n`);
      socket.write(chunk);
      socket.write('\r\n');
      await sleep(5);
    }
    expect(await closed).toMatch(/resource_exhausted|^$/);
    expect(socket.bytesWritten).toBeLessThan(4 * over);
    await bystander();
  });

  it.each([
    ['JSON', 'application/json', () => `{"drives":[${'{},'.repeat(60_000)}{}]}`],
    ['protobuf', 'application/proto', () => '\x12\0'.repeat(60_000)],
  ])('of too many fields is refused: %s', async (_name, type, body) => {
    const { status, text } = await http(gateway.address, CREATE, { headers: { 'content-type': type }, body: body() });
    expect(status).toBe(400);
    expect(text).toMatch(/more than 50000 fields/);
  });

  it('that is compressed is not expanded', async () => {
    const { status, text } = await http(gateway.address, LIST, {
      headers: { ...JSON_TYPE, 'content-encoding': 'gzip' },
      body: gzipSync(Buffer.alloc(1 << 20, ' ')).toString('latin1'),
    });
    expect(status).toBe(501);
    expect(text).toMatch(/unknown compression/);
  });
});

describe('many', () => {
  it('connections without a request are closed for new ones, the oldest first', async () => {
    const idle = Array.from({ length: 60 }, () => rawConnection(gateway.address));
    await Promise.all(idle.map(async ({ socket }) => once(socket, 'connect')));
    await bystander();
    for (const { socket } of idle) socket.destroy();
  });

  it('requests in a connection, sent without waiting for answers, close it', async () => {
    const { socket, closed } = rawConnection(gateway.address);
    const subscribe = '/guestfs.v1.FileService/Mkdir';
    const body = '{"path":"/x"}';
    socket.write(
      `${head(subscribe, 'guestfs-session: STOPPING', `Content-Length: ${body.length}`)}${body}`.repeat(100),
    );
    await closed;
    await bystander();
  });

  it('calls of a client are refused beyond its limit', async () => {
    const stop = new AbortController();
    const one = async (): Promise<number> => {
      const answer = await fetch(`http://${gateway.address}/guestfs.v1.EventService/Subscribe`, {
        method: 'POST',
        headers: { 'content-type': 'application/grpc-web+proto', 'guestfs-session': 'CONFIG' },
        body: Buffer.alloc(5),
        signal: stop.signal,
      });
      return Number(answer.headers.get('grpc-status') ?? -1);
    };
    const answers: number[] = [];
    for (let count = 0; count < 6; count += 1) answers.push(await one());
    expect(answers).toEqual([-1, -1, -1, -1, -1, 8]);
    stop.abort();
    await eventually(
      async () => (await http(gateway.address, LIST, { headers: JSON_TYPE, body: '{}' })).status === 200,
    );
  });
});

describe('a request that two readers could read in two ways is refused', () => {
  it.each<[string, string]>([
    ['two lengths', `${head(LIST, 'Content-Length: 2', 'Content-Length: 3')}{}`],
    ['a length and chunks', `${head(LIST, 'Content-Length: 2', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
    ['an unknown encoding after chunks', `${head(LIST, 'Transfer-Encoding: chunked, gzip')}0\r\n\r\n`],
    ['a length that is no number', `${head(LIST, 'Content-Length: +2')}{}`],
    ['a folded header', `${head(LIST, 'X: a', ' b', 'Content-Length: 2')}{}`],
    ['a bare line feed in a header', head(LIST, 'X: a\nContent-Length: 2') + '{}'],
    ['a blank before the colon', `${head(LIST, 'Content-Length : 2')}{}`],
    ['no host', `POST ${LIST} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`],
    ['headers without end', head(LIST, `X: ${'x'.repeat(40_000)}`)],
    [
      'a chunk size with an extension that is too long',
      `${head(LIST, 'Transfer-Encoding: chunked')}1;${'x'.repeat(40_000)}`,
    ],
    [
      'another server in its target',
      `POST http://evil.example${LIST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    ],
  ])('%s', async (_name, text) => {
    const { socket, closed } = rawConnection(gateway.address);
    socket.write(text, 'latin1');
    const early = setTimeout(() => socket.end(), 2000);
    const answer = await closed;
    clearTimeout(early);
    expect(answer).not.toMatch(/HTTP\/1\.1 200/);
    await bystander();
  });
});

it('a header that gRPC cannot carry is an invalid argument', async () => {
  const { status, text } = await http(gateway.address, LIST, {
    headers: { ...JSON_TYPE, 'guestfs-request-id': '\xff' },
    body: '{}',
  });
  expect(status).toBe(400);
  expect(text).toMatch(/guestfs-request-id/);
});
