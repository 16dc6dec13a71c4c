/** Calls of the client to a scripted server. */
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import {
  status,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import { GuestfsRpcError, type ConnectOptions } from '../../../clients/typescript/src/index.js';
import {
  FileServiceService,
  type CatRequest,
  type CatResponse,
  type LsRequest,
  type LsResponse,
} from '../../../gen/proto/guestfs/v1/file.js';
import {
  TransferServiceService,
  type DownloadRequest,
  type DownloadResponse,
  type UploadRequest,
  type UploadResponse,
} from '../../../gen/proto/guestfs/v1/transfer.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { silentLogger } from '../../../src/common/logger.js';
import { toStatus } from '../../../src/server/statusMapping.js';
import { serve, type Served } from './server.js';

const MEBIBYTE = 1024 * 1024;

let served: Served | undefined;
afterEach(() => served?.close());

async function failure(call: Promise<unknown>): Promise<GuestfsRpcError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof GuestfsRpcError) return error;
  throw new Error('the call did not fail with a GuestfsRpcError', { cause: error });
}

type Unary<Request, Response> = (call: ServerUnaryCall<Request, Response>, answer: sendUnaryData<Response>) => void;

async function serveCat(
  cat: Unary<CatRequest, CatResponse>,
  signal?: AbortSignal,
  options: ConnectOptions = {},
): Promise<Served['client']> {
  served = await serve([[FileServiceService, { cat }]], signal === undefined ? options : { signal });
  return served.client;
}

async function serveUpload(
  upload: (call: ServerReadableStream<UploadRequest, UploadResponse>, answer: sendUnaryData<UploadResponse>) => void,
): Promise<Served['client']> {
  served = await serve([[TransferServiceService, { upload }]]);
  return served.client;
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('a unary call', () => {
  it('names its session, and gets an answer', async () => {
    const client = await serveCat((call, answer) =>
      answer(null, { content: `${call.request.path} in ${String(call.metadata.get('guestfs-session')[0])}` }),
    );
    expect(await client.attach('mine').session.call(FileServiceService.cat, { path: '/a' })).toEqual({
      content: '/a in mine',
    });
    expect(await client.call(FileServiceService.cat, { path: '/a' })).toEqual({ content: '/a in undefined' });
  });

  it("fails with the service's error", async () => {
    const thrown = new GuestfsError('ENOENT', 'cat: /a: No such file or directory');
    const client = await serveCat((_call, answer) =>
      answer(toStatus(thrown, { action: 'cat', state: 'READY' }, silentLogger)),
    );
    const error = await failure(client.call(FileServiceService.cat, { path: '/a' }));
    expect(error).toMatchObject({
      name: 'GuestfsRpcError',
      rpc: 'FileService/Cat',
      code: status.NOT_FOUND,
      reason: 'ENOENT',
      errno: 'ENOENT',
      action: 'cat',
      metadata: { action: 'cat', state: 'READY' },
      fields: [],
      details: 'cat: /a: No such file or directory',
      message: 'FileService/Cat: NOT_FOUND (ENOENT): cat: /a: No such file or directory',
    });
  });

  it('fails with the invalid fields, and the retry delay', async () => {
    const thrown = new GuestfsError('BAD_ARGUMENT', 'wrong', {
      fields: [{ field: 'path', description: 'is relative' }],
      retryAfterMs: 1500,
    });
    const cat: Unary<CatRequest, CatResponse> = (_call, answer) => answer(toStatus(thrown, {}, silentLogger));
    const client = await serveCat(cat, undefined, { retries: 0 });
    const error = await failure(client.call(FileServiceService.cat, { path: 'a' }));
    expect(error).toMatchObject({ reason: 'BAD_ARGUMENT', errno: undefined, fields: ['path'] });
    expect(error.info?.retryAfterMs).toBe(1500);
  });

  it('fails without a reason if the service gave none', async () => {
    const client = await serveCat((_call, answer) => answer({ code: status.UNKNOWN, details: 'odd' }));
    const error = await failure(client.call(FileServiceService.cat, { path: '' }));
    expect(error).toMatchObject({ code: status.UNKNOWN, reason: '', errno: undefined, action: undefined });
    expect(error.info).toBeUndefined();
  });

  it.each(['its own signal', "the client's signal"])('is cancelled by %s', async (whose) => {
    const controller = new AbortController();
    const mine = whose === 'its own signal';
    let cancelled: Promise<unknown> | undefined;
    const client = await serveCat(
      (call) => {
        cancelled = once(call, 'cancelled');
        controller.abort(new Error('enough'));
      },
      mine ? undefined : controller.signal,
    );
    const options = mine ? { signal: controller.signal } : {};
    const error = await failure(client.attach('one').session.call(FileServiceService.cat, { path: '' }, options));
    expect(error).toMatchObject({ code: status.CANCELLED, cause: expect.objectContaining({ message: 'enough' }) });
    await cancelled;
  });

  it('is one of many that a signal cancels, without warnings', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): unknown => warnings.push(warning);
    process.on('warning', warned);
    const controller = new AbortController();
    let calls = 0;
    const client = await serveCat(() => {
      calls += 1;
      if (calls === 20) controller.abort();
    });
    const { signal } = controller;
    const all = Array.from({ length: 20 }, () =>
      failure(client.call(FileServiceService.cat, { path: '' }, { signal })),
    );
    expect((await Promise.all(all)).map(({ code }) => code)).toEqual(all.map(() => status.CANCELLED));
    process.off('warning', warned);
    expect(warnings).toEqual([]);
  });

  it('is not made if its signal has already aborted', async () => {
    let calls = 0;
    const client = await serveCat((_call, answer) => {
      calls += 1;
      answer(null, { content: '' });
    });
    const error = await failure(client.call(FileServiceService.cat, { path: '' }, { signal: AbortSignal.abort() }));
    expect([error.code, calls]).toEqual([status.CANCELLED, 0]);
  });

  it('ends at its deadline', async () => {
    const client = await serveCat(() => undefined);
    const error = await failure(client.call(FileServiceService.cat, { path: '' }, { deadline: Date.now() + 50 }));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
  });
});

describe('an upload', () => {
  /** Answers when everything has arrived, with what it was. */
  async function collecting(): Promise<{ client: Served['client']; arguments: unknown[]; chunks: Buffer[] }> {
    const got = { arguments: [] as unknown[], chunks: [] as Buffer[] };
    const client = await serveUpload((call, answer) => {
      call.on('data', ({ payload }: UploadRequest) => {
        if (payload?.$case === 'arguments') got.arguments.push(payload.value);
        else if (payload !== undefined) got.chunks.push(payload.value);
      });
      call.on('end', () => answer(null, {}));
    });
    return { client, ...got };
  }

  it.each([
    ['bytes', () => Buffer.from('contents')],
    ['an array', () => [Buffer.from('con'), new Uint8Array(Buffer.from('tents'))]],
    ['a stream', () => Readable.from([Buffer.from('con'), Buffer.from('tents')])],
  ])('sends its arguments, then %s', async (_what, source) => {
    const got = await collecting();
    const given = { remotefilename: '/a', progress_hint: 8n };
    await got.client.upload(TransferServiceService.upload, given, source());
    expect(got.arguments).toMatchObject([given]);
    expect(Buffer.concat(got.chunks).toString()).toBe('contents');
  });

  it('sends large chunks in messages that the service accepts', async () => {
    const got = await collecting();
    const content = Buffer.alloc(2.5 * MEBIBYTE, 'abc');
    await got.client.upload(TransferServiceService.upload, { remotefilename: '/a' }, content);
    expect(got.chunks.map(({ length }) => length)).toEqual([MEBIBYTE, MEBIBYTE, MEBIBYTE / 2]);
    expect(Buffer.concat(got.chunks).equals(content)).toBe(true);
  });

  it('reads its source no faster than the service accepts it', async () => {
    let read = 0;
    let goOn: () => void = () => undefined;
    const client = await serveUpload((call, answer) => {
      call.on('end', () => answer(null, {}));
      goOn = () => call.resume();
    });
    function* source(): Generator<Buffer> {
      for (; read < 200; read += 1) yield Buffer.alloc(64 * 1024);
    }
    const done = client.upload(TransferServiceService.upload, { remotefilename: '/a' }, source());
    let before = -1;
    while (before !== read || read === 0) {
      before = read;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(read).toBeLessThan(200);
    goOn();
    await done;
    expect(read).toBe(200);
  });

  it('fails at once when the service ends it, and releases a waiting source', async () => {
    const client = await serveUpload((_call, answer) => answer({ code: status.NOT_FOUND, details: 'no' }));
    const source = new PassThrough();
    const error = await failure(client.upload(TransferServiceService.upload, { remotefilename: '/a' }, source));
    expect(error.code).toBe(status.NOT_FOUND);
    expect(source.destroyed).toBe(true);
  });

  it('fails with the error of its source, and is cancelled for the service', async () => {
    let cancelled: Promise<unknown> | undefined;
    const client = await serveUpload((call) => {
      cancelled = once(call, 'cancelled');
      call.resume();
    });
    async function* source(): AsyncGenerator<Buffer> {
      yield Buffer.from('first');
      while (cancelled === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
      throw new Error('the disk broke');
    }
    await expect(client.upload(TransferServiceService.upload, { remotefilename: '/a' }, source())).rejects.toThrow(
      'the disk broke',
    );
    await cancelled;
  });
});

describe('a streamed answer', () => {
  async function serveLs(ls: (call: ServerWritableStream<LsRequest, LsResponse>) => void): Promise<Served['client']> {
    served = await serve([[FileServiceService, { ls }]]);
    return served.client;
  }

  it('arrives in batches', async () => {
    const client = await serveLs((call) => {
      for (const name of ['a', 'b']) call.write({ listing: [call.request.directory, name] });
      call.end();
    });
    expect(await all(client.stream(FileServiceService.ls, { directory: '/' }))).toEqual([
      { listing: ['/', 'a'] },
      { listing: ['/', 'b'] },
    ]);
  });

  it('is cancelled when the loop is left', async () => {
    let cancelled: Promise<unknown> | undefined;
    const client = await serveLs((call) => {
      cancelled = once(call, 'cancelled');
      call.write({ listing: ['a'] });
    });
    for await (const { listing } of client.stream(FileServiceService.ls, { directory: '/' })) {
      expect(listing).toEqual(['a']);
      break;
    }
    await cancelled;
  });

  it('fails after the preceding messages', async () => {
    const client = await serveLs((call) => {
      call.write({ listing: ['a'] });
      call.emit('error', { code: status.ABORTED, details: 'gone' });
    });
    const got: string[] = [];
    const reading = (async () => {
      for await (const { listing } of client.stream(FileServiceService.ls, { directory: '/' })) got.push(...listing);
    })();
    expect(await failure(reading)).toMatchObject({ code: status.ABORTED, rpc: 'FileService/Ls' });
    expect(got).toEqual(['a']);
  });

  it('is cancelled by a signal', async () => {
    const controller = new AbortController();
    const client = await serveLs(() => controller.abort(new Error('enough')));
    const reading = all(client.stream(FileServiceService.ls, { directory: '/' }, { signal: controller.signal }));
    expect(await failure(reading)).toMatchObject({ code: status.CANCELLED, cause: { message: 'enough' } });
  });
});

it('a download is a file in chunks', async () => {
  const download = (call: ServerWritableStream<DownloadRequest, DownloadResponse>): void => {
    for (const part of [call.request.remotefilename, '!']) call.write({ chunk: Buffer.from(part) });
    call.end();
  };
  served = await serve([[TransferServiceService, { download }]]);
  const chunks = await all(served.client.download(TransferServiceService.download, { remotefilename: '/a' }));
  expect(Buffer.concat(chunks).toString()).toBe('/a!');
});
