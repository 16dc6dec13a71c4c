/** The record of each call: one line, and nothing of what is secret. */
import { connect, type ClientHttp2Stream } from 'node:http2';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { LogFields, Logger } from '../../../src/common/logger.js';
import { REQUEST_LIMIT } from '../../../src/common/messageLimits.js';
import { SetMemsizeRequest } from '../../../gen/proto/guestfs/v1/property.js';
import { TouchRequest } from '../../../gen/proto/guestfs/v1/file.js';
import { UploadRequest } from '../../../gen/proto/guestfs/v1/transfer.js';
import { startFakeServer, type FakeServer } from '../../fakes/server.js';
import { eventually } from '../../support/eventually.js';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

const lines: Line[] = [];
function collecting(bound: LogFields): Logger {
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields: { ...bound, ...fields } });
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => collecting({ ...bound, ...fields }),
  };
}

let server: FakeServer;
beforeAll(async () => {
  server = await startFakeServer({ allowed: [], debugService: false, logger: collecting({}) });
});
afterAll(() => server.stop());
beforeEach(() => void lines.splice(0));

/** The records there are, once there is one. */
async function records(): Promise<readonly Line[]> {
  await eventually(() => lines.some(({ message }) => message.startsWith('call ')));
  return lines.filter(({ message }) => message.startsWith('call '));
}

it('of a call that changes nothing is for those who debug', async () => {
  await server.sessions.CONFIG.call('get_memsize');
  expect(await records()).toEqual([
    {
      level: 'debug',
      message: 'call succeeded',
      fields: expect.objectContaining({ action: 'get_memsize', session: 'CONFIG', ms: expect.any(Number) }),
    },
  ]);
});

it('of a call that changes something is for everybody', async () => {
  await server.sessions.CONFIG.call('set_memsize', { memsize: 512 });
  expect(await records()).toMatchObject([{ level: 'info', fields: { action: 'set_memsize', session: 'CONFIG' } }]);
});

it('of a call that fails says why', async () => {
  await server.sessions.CONFIG.failure('set_memsize', { memsize: 1 });
  expect(await records()).toMatchObject([
    { level: 'info', message: 'call failed', fields: { action: 'set_memsize', reason: 'BAD_ARGUMENT' } },
  ]);
});

it('of a call that is refused before it has a session names the one it asked for', async () => {
  await expect(server.client.getSession('nobody')).rejects.toMatchObject({ info: { reason: 'SESSION_UNKNOWN' } });
  const [record] = await records();
  expect(record).toMatchObject({ level: 'info', fields: { action: 'GetSession', reason: 'SESSION_UNKNOWN' } });
  expect(record?.fields.session).toBe('nobody');
});

it('of a new session names it', async () => {
  await server.client.createSession({ session_id: 'made' });
  expect(await records()).toMatchObject([
    { level: 'info', fields: { action: 'CreateSession', session: 'made', drives: 0, launched: false } },
  ]);
});

it('of a request that is refused before it is read is there as well', async () => {
  await server.sessions.CONFIG.failure('set_append', { append: 'x'.repeat(REQUEST_LIMIT + 1) });
  expect(await records()).toMatchObject([
    { level: 'info', fields: { action: 'set_append', reason: 'MESSAGE_TOO_LARGE' } },
  ]);
});

it('has nothing of the request', async () => {
  const secret = 'a-key-that-nobody-sees';
  await server.sessions.CONFIG.failure('luks_open', { device: '/dev/sda', key: secret, mapname: 'x' });
  await server.sessions.CONFIG.failure('add_drive', { filename: '/x', protocol: 'nbd', secret });
  await records();
  expect(JSON.stringify(lines)).not.toContain(secret);
});

it('of a subscription that its client ends is for those who debug', async () => {
  const subscription = await server.client.subscribe('CONFIG');
  subscription.cancel();
  expect(await records()).toMatchObject([
    { level: 'debug', fields: { action: 'Subscribe', session: 'CONFIG', reason: 'CANCELLED' } },
  ]);
});

it('of a call that changes nothing, and that its client gives up, is a failure', async () => {
  await rawCall(
    '/guestfs.v1.PropertyService/GetMemsize',
    { 'guestfs-session': 'CONFIG' },
    (stream) => void stream.once('ready', () => stream.session?.destroy()),
  );
  expect(await records()).toMatchObject([{ level: 'info', fields: { action: 'get_memsize', reason: 'CANCELLED' } }]);
});

function frame(contents: Uint8Array, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed, 0);
  head.writeUInt32BE(contents.length, 1);
  return Buffer.concat([head, contents]);
}

/** A call whose body is written by `write`; resolves when it is over. */
async function rawCall(
  path: string,
  headers: Readonly<Record<string, string>>,
  write: (stream: ClientHttp2Stream) => void,
): Promise<void> {
  const connection = connect(`http://${server.address}`);
  const stream = connection.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
    { endStream: false },
  );
  stream.on('error', () => undefined);
  stream.resume();
  write(stream);
  await once(stream, 'close');
  connection.destroy();
}

it('of a call that outlasts its deadline says so', async () => {
  const { daemon } = server.machine;
  const over = rawCall(
    '/guestfs.v1.FileService/Touch',
    { 'guestfs-session': 'READY', 'grpc-timeout': '100m' },
    (stream) => void stream.end(frame(TouchRequest.encode({ path: '/x' }).finish())),
  );
  const received = await daemon.nextCall();
  await over;
  expect(await records()).toMatchObject([
    { level: 'info', fields: { action: 'touch', session: 'READY', reason: 'DEADLINE_EXCEEDED' } },
  ]);
  await daemon.reply(received);
});

describe('of a request that never reaches a handler', () => {
  const PATH = '/guestfs.v1.PropertyService/SetMemsize';
  const REQUEST = SetMemsizeRequest.encode({ memsize: 600 }).finish();

  it.each([
    ['there is none', (stream: ClientHttp2Stream) => void stream.end(), {}, 'UNIMPLEMENTED'],
    [
      'there are two',
      (stream: ClientHttp2Stream) => void stream.end(Buffer.concat([frame(REQUEST), frame(REQUEST)])),
      {},
      'UNIMPLEMENTED',
    ],
    [
      'it cannot be decompressed',
      (stream: ClientHttp2Stream) => void stream.end(frame(REQUEST, 1)),
      { 'grpc-encoding': 'gzip' },
      'INTERNAL',
    ],
    [
      'it is compressed in an unknown way',
      (stream: ClientHttp2Stream) => void stream.end(frame(REQUEST, 1)),
      { 'grpc-encoding': 'rot13' },
      'UNIMPLEMENTED',
    ],
    [
      'its timeout is malformed',
      (stream: ClientHttp2Stream) => void stream.end(frame(REQUEST)),
      { 'grpc-timeout': 'soon' },
      'INTERNAL',
    ],
    [
      'its client is gone',
      (stream: ClientHttp2Stream) => void stream.once('ready', () => stream.session?.destroy()),
      {},
      'CANCELLED',
    ],
  ])('because %s', async (_why, write, headers, reason) => {
    await rawCall(PATH, { 'guestfs-session': 'CONFIG', ...headers }, write);
    expect(await records()).toMatchObject([{ message: 'call failed', fields: { action: 'set_memsize', reason } }]);
  });

  it('because its deadline passes before it is whole; nor does it run when the rest arrives', async () => {
    const request = frame(REQUEST);
    await rawCall(PATH, { 'guestfs-session': 'CONFIG', 'grpc-timeout': '50m' }, (stream) => {
      stream.write(request.subarray(0, 4));
      setTimeout(() => stream.end(request.subarray(4)), 150);
    });
    await delay(200);
    expect(await records()).toMatchObject([
      { level: 'info', fields: { action: 'set_memsize', reason: 'DEADLINE_EXCEEDED' } },
    ]);
    expect(await server.sessions.CONFIG.call('get_memsize')).not.toBe(600);
  });

  it('because a piece of its file is too large', async () => {
    const arguments_ = UploadRequest.encode({
      payload: { $case: 'arguments', value: { remotefilename: '/file' } },
    }).finish();
    const chunk = UploadRequest.encode({
      payload: { $case: 'chunk', value: Buffer.alloc(REQUEST_LIMIT + 1) },
    }).finish();
    await rawCall(
      '/guestfs.v1.TransferService/Upload',
      { 'guestfs-session': 'READY' },
      (stream) => void stream.end(Buffer.concat([frame(arguments_), frame(chunk)])),
    );
    expect(await records()).toMatchObject([{ level: 'info', fields: { action: 'upload', reason: 'CHUNK_TOO_LARGE' } }]);
  });
});
