/** Methods for actions: their arguments, results, files and options. */
import { once } from 'node:events';
import { Readable } from 'node:stream';
import type { sendUnaryData, ServerReadableStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EventType, GuestfsRpcError, type CallProgress, type Guest } from '../../../clients/typescript/src/index.js';
import { EventServiceService } from '../../../gen/proto/guestfs/v1/event.js';
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
  const download = (call: ServerWritableStream<{ readonly remotefilename: string }, object>): void => {
    if (call.request.remotefilename === '/missing')
      return void call.emit('error', { code: 5, details: 'no such file' });
    call.once('cancelled', () => seen.push('cancelled'));
    call.write({ chunk: Buffer.from('begin') });
  };
  const subscribe = (call: ServerWritableStream<unknown, object>): void => {
    seen.push(call.request);
    call.once('cancelled', () => seen.push('unsubscribed'));
    const calls = { upload: ['', 'mine', 'of others'], tar_out: [''] };
    const named = Object.entries(calls).flatMap(([action, ids]) => ids.map((id) => [action, id] as const));
    for (const [action, request_id] of named) {
      const value = { action, procedure: 1, serial: 1, position: 1n, total: 4n, request_id };
      call.write({
        type: EventType.PROGRESS,
        time: undefined,
        sequence: 1n,
        lost: 0n,
        detail: { $case: 'progress', value },
      });
    }
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
    [
      TransferServiceService,
      {
        upload,
        tarOut: streaming({ chunk: Buffer.from('ab') }, { chunk: Buffer.alloc(0) }, { chunk: Buffer.from('c') }),
        download,
      },
    ],
    [EventServiceService, { subscribe }],
  ]);
  guest = await served.client.session({ drives: [{ path: 'disk.img' }], launch: true });
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

it('gives a file as a stream of Node, a web stream, and bytes', async () => {
  const collected = await guest.tarOut('/').node().toArray();
  expect(Buffer.concat(collected as Buffer[]).toString()).toBe('abc');
  expect(await new Response(guest.tarOut('/').web()).text()).toBe('abc');
  const reader = guest.tarOut('/').web().getReader({ mode: 'byob' });
  expect((await reader.read(new Uint8Array(1))).value).toEqual(new Uint8Array(Buffer.from('a')));
  await reader.cancel();
  expect((await guest.tarOut('/').bytes()).toString()).toBe('abc');
});

describe('a file that nobody waits for any more', () => {
  it.each<[string, () => Promise<unknown>]>([
    [
      'as a stream of Node',
      async () => {
        const stream = guest.download('/slow').node();
        const closed = once(stream.resume(), 'close');
        await once(stream, 'data');
        stream.destroy();
        await closed;
      },
    ],
    [
      'as a web stream',
      async () => {
        const reader = guest.download('/slow').web().getReader();
        await reader.read();
        await reader.cancel();
      },
    ],
    [
      'as an iterable',
      async () => {
        for await (const _chunk of guest.download('/slow')) break;
      },
    ],
    [
      'by its scope',
      async () => {
        await using file = guest.download('/slow');
        const chunks = file[Symbol.asyncIterator]();
        await chunks.next();
        const waiting = chunks.next();
        file.cancel();
        await expect(waiting).rejects.toMatchObject({ code: 1, action: 'download' });
      },
    ],
    [
      'by a signal',
      async () => {
        const controller = new AbortController();
        const stream = guest.download('/slow', { signal: controller.signal }).node();
        const failed = once(stream.resume(), 'error');
        await once(stream, 'data');
        controller.abort(new Error('enough'));
        expect(await failed).toMatchObject([{ code: 1, cause: { message: 'enough' } }]);
      },
    ],
  ])('is cancelled %s', async (_how, leave) => {
    await leave();
    while (!seen.includes('cancelled')) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it('fails a stream as it fails', async () => {
    const stream = guest.download('/missing').node();
    const [error] = (await once(stream.resume(), 'error')) as unknown[];
    expect(error).toMatchObject({ name: 'GuestfsRpcError', code: 5, action: 'download' });
    await expect(new Response(guest.download('/missing').web()).text()).rejects.toMatchObject({ code: 5 });
  });
});

describe('progress', () => {
  const given = { position: 1n, total: 4n };

  it('comes to a callback, for this action alone', async () => {
    const heard: CallProgress[] = [];
    await guest.upload(Buffer.from('x'), '/file', { onProgress: (progress) => heard.push(progress) });
    expect(heard).toEqual([{ action: 'upload', ...given, requestId: '' }]);
    expect(seen[0]).toMatchObject({ types: [EventType.PROGRESS] });
    heard.length = 0;
    await guest.tarOut('/', { onProgress: (progress) => heard.push(progress) }).bytes();
    expect(heard).toEqual([{ action: 'tar_out', ...given, requestId: '' }]);
    while (!seen.includes('unsubscribed')) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it('comes to the callback of its own call, where the service names it', async () => {
    const heard: CallProgress[] = [];
    await guest.upload(Buffer.from('x'), '/file', {
      requestId: 'mine',
      onProgress: (progress) => heard.push(progress),
    });
    expect(heard.map(({ requestId }) => requestId)).toEqual(['', 'mine']);
  });

  it('fails its call if the callback does', async () => {
    const onProgress = (): never => {
      throw new Error('no room for a bar');
    };
    await expect(guest.upload(Buffer.from('x'), '/file', { onProgress })).rejects.toThrow('no room for a bar');
  });

  it('comes as an iterable, of all calls', async () => {
    const heard: string[] = [];
    for await (const { action } of await guest.progress()) {
      heard.push(action);
      if (heard.length === 4) break;
    }
    expect(heard).toEqual(['upload', 'upload', 'upload', 'tar_out']);
  });
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
