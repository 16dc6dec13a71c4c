/** Calls through the gateway, in each protocol and encoding, to a real server. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary, toJson, type DescMessage } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { mkdir } from '../../../gen/calls/file.js';
import { pattern } from '../../fakes/files.js';
import {
  http,
  methodOf,
  PROTOCOLS,
  startGateway,
  type AnyClientStream,
  type AnyServerStream,
  type AnyUnary,
  type FakeGateway,
} from '../../fakes/gateway.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { long, word } from '../../fakes/xdrBytes.js';
import { eventually } from '../../support/eventually.js';

const JSON_TYPE = { 'content-type': 'application/json' };
const LIST = '/guestfs.v1.SessionService/ListSessions';
const FILE = pattern(300_000);

jest.setTimeout(30_000);

let server: FakeServer;
let served: ServedSession;
/** In front of a server with a session in each state. */
let gateway: FakeGateway;
/** In front of one with a session whose daemon has files. */
let files: FakeGateway;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false });
  gateway = await startGateway(server.address);
  served = await servedSession();
  served.file = FILE;
  files = await startGateway(served.server.address);
}, 60_000);
afterAll(async () => {
  await gateway.stop();
  await files.stop();
  await served.stop();
  await server.stop();
});

/** The error of a call. */
async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error('the call was expected to fail');
}

/** The google.rpc.ErrorInfo in an error. */
function infoIn({ details }: ConnectError, { api }: FakeGateway): unknown {
  const schema = api.registry.getMessage('google.rpc.ErrorInfo') as DescMessage;
  const detail = details.find((one) => 'type' in one && one.type === 'google.rpc.ErrorInfo') as { value: Uint8Array };
  return toJson(schema, fromBinary(schema, detail.value));
}

async function collect(stream: AsyncIterable<Record<string, unknown>>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of stream) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

async function* upload(data: Buffer, size = 100_000): AsyncGenerator<object> {
  yield { payload: { case: 'arguments', value: { remotefilename: '/file' } } };
  for (let start = 0; start < data.length; start += size)
    yield { payload: { case: 'chunk', value: data.subarray(start, start + size) } };
}

describe.each(PROTOCOLS)('%s', (_name, protocol, binary) => {
  const method = <Method>(of: FakeGateway, service: string, name: string): Method =>
    methodOf<Method>(of, service, name, protocol, binary);
  const session = { headers: { 'guestfs-session': 'test' } };

  it('makes a call with one answer', async () => {
    const list = method<AnyUnary>(gateway, 'SessionService', 'listSessions');
    const { sessions } = await list({});
    expect((sessions as { id: string }[]).map(({ id }) => id)).toEqual(['CONFIG', 'LAUNCHING', 'READY', 'STOPPING']);
  });

  it('names the session in a header, and returns it in one', async () => {
    const get = method<AnyUnary>(gateway, 'PropertyService', 'getMemsize');
    expect(await get({}, { headers: { 'guestfs-session': 'CONFIG' } })).toMatchObject({ memsize: 512 });
    let header: string | null = null;
    const create = method<AnyUnary>(gateway, 'SessionService', 'createSession');
    const { id } = await create({}, { onHeader: (headers) => (header = headers.get('guestfs-session')) });
    expect(header).toBe(id);
    await method<AnyUnary>(gateway, 'SessionService', 'deleteSession')({ id });
  });

  it('returns errors with code, text and details', async () => {
    const error = await errorOf(method<AnyUnary>(gateway, 'SessionService', 'getSession')({ id: 'missing' }));
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toMatch(/missing/);
    expect(infoIn(error, gateway)).toMatchObject({ reason: 'SESSION_UNKNOWN', domain: 'guestfs' });
  });

  it('returns an error of the daemon', async () => {
    const call = method<AnyUnary>(
      gateway,
      'FileService',
      'mkdir',
    )({ path: '/there' }, { headers: { 'guestfs-session': 'READY' } });
    const failed = errorOf(call);
    const received = await server.machine.daemon.nextCall();
    expect(received.procedure).toBe(mkdir.procedure);
    await server.machine.daemon.fail(received, 'EEXIST', 'File exists');
    const error = await failed;
    expect(error.code).toBe(Code.AlreadyExists);
    expect(infoIn(error, gateway)).toMatchObject({ reason: 'EEXIST', metadata: { action: 'mkdir' } });
  });

  it('streams answers, with their trailers', async () => {
    let trailer: Headers = new Headers();
    const download = method<AnyServerStream>(files, 'TransferService', 'download');
    const stream = download(
      { remotefilename: '/file' },
      { headers: { ...session.headers, 'guestfs-checksum': 'sha256' }, onTrailer: (got) => (trailer = got) },
    );
    expect((await collect(stream)).equals(FILE)).toBe(true);
    expect(trailer.get('guestfs-sha256')).toBe(createHash('sha256').update(FILE).digest('hex'));
    expect(trailer.get('guestfs-size')).toBe('300000');
  });

  it('streams requests', async () => {
    const before = served.uploads.length;
    await method<AnyClientStream>(files, 'TransferService', 'upload')(upload(FILE), session);
    expect(served.uploads[before]?.data.equals(FILE)).toBe(true);
    expect(served.uploads[before]?.cancelled).toBe(false);
  });

  it('cancels an upload whose client has gone', async () => {
    const before = served.uploads.length;
    const stop = new AbortController();
    const endless = async function* (): AsyncGenerator<object> {
      yield* upload(FILE);
      await once(stop.signal, 'abort');
    };
    const call = method<AnyClientStream>(
      files,
      'TransferService',
      'upload',
    )(endless(), { ...session, signal: stop.signal });
    const failed = errorOf(call);
    await sleep(300);
    stop.abort();
    expect((await failed).code).toBe(Code.Canceled);
    await eventually(() => served.uploads.length > before);
    expect(served.uploads[before]?.cancelled).toBe(true);
  });

  it('answers a stream that fails with its error', async () => {
    const stream = method<AnyServerStream>(gateway, 'EventService', 'subscribe')({}, { headers: {} });
    const error = await errorOf(collect(stream));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(infoIn(error, gateway)).toMatchObject({ reason: 'SESSION_MISSING' });
  });

  it('passes on the deadline', async () => {
    const call = method<AnyUnary>(
      gateway,
      'FileService',
      'mkdir',
    )({ path: '/late' }, { headers: { 'guestfs-session': 'READY' }, timeoutMs: 300 });
    const failed = errorOf(call);
    const received = await server.machine.daemon.nextCall();
    expect((await failed).code).toBe(Code.DeadlineExceeded);
    await server.machine.daemon.reply(received);
  });

  it('cancels a call whose client has gone', async () => {
    const stop = new AbortController();
    const call = method<AnyUnary>(
      gateway,
      'FileService',
      'mkdir',
    )({ path: '/gone' }, { headers: { 'guestfs-session': 'READY' }, signal: stop.signal });
    const failed = errorOf(call);
    const received = await server.machine.daemon.nextCall();
    stop.abort();
    expect((await failed).code).toBe(Code.Canceled);
    // The daemon cannot be interrupted; that its client has gone is seen in the session.
    const get = method<AnyUnary>(gateway, 'SessionService', 'getSession');
    await eventually(async () => {
      const { calls } = await get({ id: 'READY' });
      return (calls as { abandoned: boolean }[]).some(({ abandoned }) => abandoned);
    });
    await server.machine.daemon.reply(received);
  });

  it('tells a subscriber that it is subscribed before there is an event', async () => {
    const stop = new AbortController();
    let opened = (): void => undefined;
    const subscribed = new Promise<void>((resolve) => (opened = resolve));
    const stream = method<AnyServerStream>(
      gateway,
      'EventService',
      'subscribe',
    )({ types: [] }, { headers: { 'guestfs-session': 'CONFIG' }, signal: stop.signal, onHeader: () => opened() });
    const events = stream[Symbol.asyncIterator]();
    const first = events.next();
    await subscribed;
    await server.sessions.CONFIG.call('set_trace', { trace: true });
    await server.sessions.CONFIG.call('get_memsize');
    await server.sessions.CONFIG.call('set_trace', { trace: false });
    expect((await first).done).toBe(false);
    stop.abort();
    await expect(collect({ [Symbol.asyncIterator]: () => events })).rejects.toBeDefined();
  });
});

describe('with curl', () => {
  it('a call is one line', async () => {
    const { status, headers, text } = await http(gateway.address, LIST, { headers: JSON_TYPE, body: '{}' });
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json');
    const { sessions } = JSON.parse(text) as { sessions: { id: string; state: string }[] };
    expect(sessions[0]).toMatchObject({ id: 'CONFIG', state: 'SESSION_STATE_CONFIG' });
  });

  it('numbers of 64 bits are text, and what is zero or empty is there', async () => {
    const path = '/guestfs.v1.SessionService/GetServerInfo';
    const { text } = await http(gateway.address, path, { headers: JSON_TYPE, body: '{}' });
    expect(JSON.parse(text)).toMatchObject({ replica: '', draining: false, limits: { requestMemory: '67108864' } });
  });

  it('bytes are base64', async () => {
    served.file = Buffer.of(0, 255, 1);
    try {
      const { text } = await http(files.address, '/guestfs.v1.FileService/ReadFile', {
        headers: { ...JSON_TYPE, 'guestfs-session': 'test' },
        body: '{"path":"/a"}',
      });
      expect(JSON.parse(text)).toEqual({ content: 'AP8B' });
    } finally {
      served.file = FILE;
    }
  });

  it.each<[string, string, string, Buffer, unknown]>([
    ['what is false is there', 'Exists', 'path', word(0), false],
    ['numbers of 64 bits are text, whatever their size', 'Filesize', 'file', long(2n ** 53n + 1n), '9007199254740993'],
  ])('%s', async (_name, rpc, argument, reply, expected) => {
    const answer = http(gateway.address, `/guestfs.v1.FileService/${rpc}`, {
      headers: { ...JSON_TYPE, 'guestfs-session': 'READY' },
      body: JSON.stringify({ [argument]: '/a' }),
    });
    await server.machine.daemon.reply(await server.machine.daemon.nextCall(), reply);
    expect(Object.values(JSON.parse((await answer).text) as object)).toEqual([expected]);
  });

  it.each([
    ['text that is no JSON', 'x', /JSON/],
    ['a field that does not exist', '{"nonsense": 1}', /nonsense/],
    ['a value of a wrong type', '{"pageSize": "many"}', /page_?[sS]ize/],
    ['nothing', '', /./],
  ])('%s is an invalid argument', async (_name, body, expected) => {
    const { status, text } = await http(gateway.address, LIST, { headers: JSON_TYPE, body });
    expect(status).toBe(400);
    const error = JSON.parse(text) as { code: string; message: string };
    expect(error.code).toBe('invalid_argument');
    expect(error.message).toMatch(expected);
  });

  it('an error has its details', async () => {
    const { status, text } = await http(gateway.address, '/guestfs.v1.SessionService/GetSession', {
      headers: JSON_TYPE,
      body: '{"id": "missing"}',
    });
    expect(status).toBe(404);
    const { code, details } = JSON.parse(text) as { code: string; details: { type: string; value: string }[] };
    expect(code).toBe('not_found');
    expect(details.map(({ type }) => type)).toContain('google.rpc.ErrorInfo');
    expect(Buffer.from(details[0]?.value ?? '', 'base64').toString('latin1')).toContain('SESSION_UNKNOWN');
  });

  it('an RPC that does not exist is not found', async () => {
    const unknown = await http(gateway.address, '/guestfs.v1.SessionService/Nothing', {
      headers: JSON_TYPE,
      body: '{}',
    });
    expect(unknown.status).toBe(404);
    expect(JSON.parse(unknown.text)).toMatchObject({ code: 'unimplemented' });
    const web = await http(gateway.address, '/guestfs.v1.Nothing/Nothing', {
      headers: { 'content-type': 'application/grpc-web+proto' },
    });
    expect(web.headers['grpc-status']).toBe('12');
  });

  it.each(['/guestfs.v1.TransferService/Upload', '/guestfs.v1.EventService/Subscribe'])(
    '%s as if it had no streams is unimplemented, with what to do instead',
    async (path) => {
      const { status, text } = await http(gateway.address, path, { headers: JSON_TYPE, body: '{}' });
      expect(status).toBe(501);
      const { code, message } = JSON.parse(text) as { code: string; message: string };
      expect(code).toBe('unimplemented');
      expect(message).toMatch(/application\/connect\+json.*gRPC/);
    },
  );

  it('a request as a stream where there is none is unimplemented', async () => {
    const { status, text } = await http(gateway.address, LIST, {
      headers: { 'content-type': 'application/connect+json' },
    });
    expect(status).toBe(200);
    expect(text).toMatch(/unimplemented.*application\/json/);
  });

  it('GET and other methods make no calls', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS'])
      expect(await http(gateway.address, LIST, { method })).toMatchObject({ status: 405, headers: { allow: 'POST' } });
  });

  it.each(['connect-timeout-ms', 'grpc-timeout'])('a wrong %s is an invalid argument', async (name) => {
    const type = name === 'grpc-timeout' ? 'application/grpc-web+json' : 'application/json';
    const { text, status, headers } = await http(gateway.address, LIST, {
      headers: { 'content-type': type, [name]: 'soon' },
      body: type === 'application/json' ? '{}' : '\0\0\0\0\x02{}',
    });
    expect(status === 400 || headers['grpc-status'] === '3' || text.includes('grpc-status: 3')).toBe(true);
  });

  it.each([
    ['application/json', 'connect-timeout-ms', '9999999999', '{}'],
    ['application/grpc-web+json', 'grpc-timeout', '99999999H', '\0\0\0\0\x02{}'],
  ])('a timeout beyond what timers can wait for is none: %s', async (type, name, value, body) => {
    const { status, text } = await http(gateway.address, LIST, {
      headers: { 'content-type': type, [name]: value },
      body,
    });
    expect(status).toBe(200);
    expect(text).toContain('"sessions"');
  });
});

describe('a server that', () => {
  it('cannot be reached: the call is UNAVAILABLE, and its address is not shown', async () => {
    const lost = await startGateway('127.0.0.1:9');
    try {
      const { status, text } = await http(lost.address, LIST, { headers: JSON_TYPE, body: '{}' });
      expect(status).toBe(503);
      expect(text).toMatch(/cannot reach the server/);
      expect(text).not.toContain('127.0.0.1');
    } finally {
      await lost.stop();
    }
  });

  it('ends with a call in flight: its outcome is unknown', async () => {
    const other = await startFakeServer({ allowed: [], debugService: false });
    const before = await startGateway(other.address);
    try {
      const answer = http(before.address, '/guestfs.v1.FileService/Mkdir', {
        headers: { ...JSON_TYPE, 'guestfs-session': 'READY' },
        body: '{"path": "/a"}',
      });
      await other.machine.daemon.nextCall();
      await other.stop();
      const { text } = await answer;
      expect(JSON.parse(text)).toMatchObject({ code: expect.stringMatching(/^(aborted|unavailable|canceled)$/) });
    } finally {
      await before.stop();
    }
  });
});

it('a gateway that ends lets calls finish', async () => {
  const ending = await startGateway(server.address);
  const answer = http(ending.address, '/guestfs.v1.FileService/Mkdir', {
    headers: { ...JSON_TYPE, 'guestfs-session': 'READY' },
    body: '{"path": "/last"}',
  });
  const received = await server.machine.daemon.nextCall();
  const closed = ending.gateway.close(new AbortController().signal);
  await sleep(50);
  await server.machine.daemon.reply(received);
  expect((await answer).status).toBe(200);
  await closed;
  await expect(http(ending.address, LIST, { headers: JSON_TYPE, body: '{}' })).rejects.toThrow();
});
