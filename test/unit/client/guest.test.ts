/** Methods for actions: their arguments, results, files and options. */
import { Readable } from 'node:stream';
import type { sendUnaryData, ServerReadableStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { GuestfsRpcError, type Guest } from '../../../clients/typescript/src/index.js';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { FilesystemServiceService } from '../../../gen/proto/guestfs/v1/filesystem.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { TransferServiceService } from '../../../gen/proto/guestfs/v1/transfer.js';
import { serve, type Served } from './server.js';

let served: Served;
let guest: Guest;
let seen: unknown[];

type Unary = (call: ServerUnaryCall<unknown, unknown>, answer: sendUnaryData<unknown>) => void;

const answering =
  (value: object): Unary =>
  ({ request, metadata }, answer) => {
    seen.push(request, metadata.get('guestfs-session')[0]);
    answer(null, value);
  };

const streaming =
  (...values: readonly object[]) =>
  (call: ServerWritableStream<unknown, unknown>): void => {
    seen.push(call.request);
    for (const value of values) call.write(value);
    call.end();
  };

beforeEach(async () => {
  seen = [];
  const upload = (call: ServerReadableStream<unknown, unknown>, answer: sendUnaryData<unknown>): void => {
    call.on('data', (message: unknown) => seen.push(message));
    call.on('end', () => answer(null, {}));
  };
  served = await serve([
    [SessionServiceService, { createSession: answering({ id: 's1' }), deleteSession: answering({}) }],
    [
      FileServiceService,
      {
        exists: answering({ existsflag: true }),
        statns: answering({ statbuf: undefined }),
        ls: streaming({ listing: ['a', 'b'] }, { listing: ['c'] }),
        filesize: ((_call, answer) => answer({ code: 5, details: 'no such file' })) satisfies Unary,
      },
    ],
    [FilesystemServiceService, { mkfs: answering({}), e2Fsck: answering({}) }],
    [TransferServiceService, { upload, tarOut: streaming({ chunk: Buffer.from('ab') }, { chunk: Buffer.from('c') }) }],
  ]);
  guest = await served.client.guest({ drives: [{ path: 'disk.img' }], launch: true });
  seen = [];
});
afterEach(() => served.close());

it('sends required and optional arguments, and the session', async () => {
  await guest.mkfs('ext4', '/dev/sda1', { label: 'data' });
  expect(seen).toEqual([expect.objectContaining({ fstype: 'ext4', device: '/dev/sda1', label: 'data' }), 's1']);
  await guest.e2fsck('/dev/sda1', { correct: true });
  expect(seen[2]).toMatchObject({ device: '/dev/sda1', correct: true, forceall: undefined });
});

it('gives the value of an answer, and all of one in batches', async () => {
  expect(await guest.exists('/')).toBe(true);
  expect(await guest.ls('/')).toEqual(['a', 'b', 'c']);
});

it('sends and receives files', async () => {
  await guest.upload(Readable.from([Buffer.from('content')]), '/file', { exactSize: 7n });
  expect(seen).toMatchObject([
    { payload: { $case: 'arguments', value: { remotefilename: '/file', exact_size: 7n } } },
    { payload: { $case: 'chunk', value: Buffer.from('content') } },
  ]);
  const web = new Blob(['web']).stream();
  await guest.upload(web, '/web');
  expect(seen.at(-1)).toMatchObject({ payload: { $case: 'chunk', value: Buffer.from('web') } });
  const pieces: Buffer[] = [];
  for await (const piece of guest.tarOut('/', { excludes: [] })) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe('abc');
  expect(seen.at(-1)).toMatchObject({ directory: '/', excludes: { values: [] } });
});

it('fails with the error of the call, with a signal or a deadline', async () => {
  await expect(guest.filesize('/x')).rejects.toBeInstanceOf(GuestfsRpcError);
  await expect(guest.statns('/x')).rejects.toThrow('without a value');
  await expect(guest.exists('/', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 1 });
  await expect(guest.exists('/', { deadline: Date.now() - 1 })).rejects.toMatchObject({ code: 4 });
});

it('ends the session with its scope, once', async () => {
  {
    await using scoped = guest;
    await scoped.exists('/');
  }
  await guest.end();
  expect(seen.filter((message) => JSON.stringify(message) === '{"id":"s1","force":false}')).toHaveLength(1);
});
