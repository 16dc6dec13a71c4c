/** The client repeats calls where the service says that nothing was done: after a while, or at another replica. */
import {
  credentials,
  status,
  type sendUnaryData,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import { connect, type ConnectOptions, type GuestfsRpcError } from '../../../clients/typescript/src/index.js';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { TransferServiceService, type UploadRequest } from '../../../gen/proto/guestfs/v1/transfer.js';
import { GuestfsError, type OwnReason } from '../../../src/common/errors.js';
import { silentLogger } from '../../../src/common/logger.js';
import { toStatus } from '../../../src/server/statusMapping.js';
import { serve, type Served } from './server.js';

const MEBIBYTE = 1024 * 1024;
const SOON_MS = 5;

const running: Served[] = [];
afterEach(() => {
  for (const one of running.splice(0)) one.close();
});

type Cat = ServerUnaryCall<{ readonly path: string }, { readonly content: string }>;
type Upload = ServerReadableStream<UploadRequest, object>;

interface Seen {
  /** Session and request ID of each call. */
  readonly calls: string[];
  /** Sizes of the files of uploads that were accepted. */
  readonly files: string[];
}

/** The error of each call in turn; then calls succeed. */
type Script = readonly (GuestfsError | { readonly code: status; readonly details: string })[];

const refusal = (reason: OwnReason, retryAfterMs?: number): GuestfsError =>
  new GuestfsError(reason, 'refused', retryAfterMs === undefined ? {} : { retryAfterMs });

const elsewhere = (endpoint: string): GuestfsError =>
  new GuestfsError('SESSION_ELSEWHERE', `call it at ${endpoint}`, { metadata: { replica: 'other', endpoint } });

async function serveScript(script: Script, options: ConnectOptions = {}): Promise<Served & Seen> {
  const seen: Seen = { calls: [], files: [] };
  const refusalOf = ({ metadata }: Pick<Cat, 'metadata'>) => {
    const error = script[seen.calls.length];
    seen.calls.push(['guestfs-session', 'guestfs-request-id'].map((key) => String(metadata.get(key)[0])).join(' '));
    return error instanceof GuestfsError ? toStatus(error, {}, silentLogger) : error;
  };
  const served = await serve(
    [
      [
        FileServiceService,
        {
          cat: (call: Cat, answer: sendUnaryData<object>) => answer(refusalOf(call) ?? null, { content: 'here' }),
          ls: (call: ServerWritableStream<object, object>): void => {
            const error = refusalOf(call);
            if (error !== undefined) return void call.emit('error', error);
            call.write({ listing: ['a'] });
            call.end();
          },
        },
      ],
      [
        TransferServiceService,
        {
          upload: (call: Upload, answer: sendUnaryData<object>) => {
            const error = refusalOf(call);
            if (error !== undefined) return answer(error);
            let size = 0;
            call.on('data', ({ payload }: UploadRequest) => {
              if (payload?.$case === 'chunk') size += payload.value.length;
            });
            call.on('end', () => {
              seen.files.push(String(size));
              answer(null, {});
            });
          },
        },
      ],
      [
        SessionServiceService,
        { deleteSession: (call: Cat, answer: sendUnaryData<object>) => answer(refusalOf(call) ?? null, {}) },
      ],
    ],
    options,
  );
  running.push(served);
  return { ...served, ...seen };
}

const cat = (served: Served, options = {}): Promise<string> => served.client.attach('s1').cat('/a', options);

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('a call that is refused with a RetryInfo', () => {
  it('is repeated after the delay, with the same request ID', async () => {
    const served = await serveScript([refusal('QUEUE_FULL', SOON_MS), refusal('SHUTTING_DOWN', SOON_MS)]);
    expect(await cat(served, { requestId: 'r1' })).toBe('here');
    expect(served.calls).toEqual(['s1 r1', 's1 r1', 's1 r1']);
  });

  it('has a request ID of its own, the same each time', async () => {
    const served = await serveScript([refusal('QUEUE_FULL', SOON_MS)]);
    await cat(served);
    await cat(served);
    const [first, second, other] = served.calls;
    expect(first).toMatch(/^s1 [0-9a-f-]{36}$/);
    expect(second).toBe(first);
    expect(other).not.toBe(first);
  });

  it('is repeated as often as permitted', async () => {
    const script = Array.from({ length: 9 }, () => refusal('QUEUE_FULL', SOON_MS));
    const served = await serveScript(script);
    await expect(cat(served)).rejects.toMatchObject({ reason: 'QUEUE_FULL', action: 'cat' });
    expect(served.calls).toHaveLength(4);
    const never = await serveScript(script, { retries: 0 });
    await expect(cat(never)).rejects.toMatchObject({ reason: 'QUEUE_FULL' });
    expect(never.calls).toHaveLength(1);
  });

  it('is not repeated if its deadline passes before, or the delay is too long', async () => {
    const served = await serveScript([refusal('QUEUE_FULL', 20_000), refusal('QUEUE_FULL', 60_000)]);
    await expect(cat(served, { deadline: Date.now() + 5_000 })).rejects.toMatchObject({ reason: 'QUEUE_FULL' });
    await expect(cat(served)).rejects.toMatchObject({ reason: 'QUEUE_FULL' });
    expect(served.calls).toHaveLength(2);
  });

  it('is cancelled while it waits', async () => {
    const served = await serveScript([refusal('QUEUE_FULL', 20_000)]);
    const controller = new AbortController();
    const call = cat(served, { signal: controller.signal });
    while (served.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, SOON_MS));
    setTimeout(() => controller.abort(new Error('enough')), SOON_MS);
    await expect(call).rejects.toMatchObject({ code: status.CANCELLED, cause: { message: 'enough' } });
    expect(served.calls).toHaveLength(1);
  });

  it('may be a listing', async () => {
    const served = await serveScript([refusal('QUEUE_FULL', SOON_MS)]);
    expect(await served.client.attach('s1').ls('/')).toEqual(['a']);
  });

  it('may be an upload, whose file is read once and sent again', async () => {
    const served = await serveScript([refusal('QUEUE_FULL', SOON_MS), refusal('QUEUE_FULL', SOON_MS)]);
    let read = 0;
    async function* source(): AsyncGenerator<Buffer> {
      for (; read < 8; read += 1) yield Buffer.alloc(MEBIBYTE / 2, 'a');
    }
    await served.client.attach('s1').upload(source(), '/a');
    expect([read, served.files]).toEqual([8, [String(4 * MEBIBYTE)]]);
    const large = Buffer.alloc(9 * MEBIBYTE);
    const other = await serveScript([refusal('QUEUE_FULL', SOON_MS)]);
    await other.client.attach('s1').upload(large, '/a');
    expect(other.files).toEqual([String(large.length)]);
  });
});

describe('a call is not repeated', () => {
  it.each([
    ['without a RetryInfo', refusal('QUEUE_FULL')],
    ['if the appliance is gone', refusal('APPLIANCE_GONE', SOON_MS)],
    ['after a status that is not from the service', { code: status.UNAVAILABLE, details: 'a proxy' }],
  ])('%s', async (_when, error) => {
    const served = await serveScript([error]);
    await expect(cat(served)).rejects.toThrow();
    expect(served.calls).toHaveLength(1);
  });
});

describe('a session at another replica', () => {
  it('is followed where that is permitted, for good', async () => {
    const owner = await serveScript([]);
    const asked: string[] = [];
    const follow = (endpoint: string): boolean => {
      asked.push(endpoint);
      return true;
    };
    const served = await serveScript([elsewhere(owner.address)], { follow });
    const guest = served.client.attach('s1');
    expect(await guest.cat('/a', { requestId: 'r1' })).toBe('here');
    expect(await guest.cat('/b', { requestId: 'r2' })).toBe('here');
    expect([served.calls, owner.calls]).toEqual([['s1 r1'], ['s1 r1', 's1 r2']]);
    expect(asked).toEqual([owner.address]);
  });

  it('is followed by uploads, listings and the end of the session', async () => {
    const owner = await serveScript([]);
    const to = elsewhere(owner.address);
    const served = await serveScript([to, to, to], { follow: [owner.address] });
    await served.client.attach('s1').upload([Buffer.from('abc')], '/a');
    expect(owner.files).toEqual(['3']);
    expect(await served.client.attach('s1').ls('/')).toEqual(['a']);
    await served.client.attach('s1').end();
    expect(owner.calls).toHaveLength(3);
  });

  it.each([
    ['by default', {}],
    ['if it is none of those permitted', { follow: ['127.0.0.1:1'] }],
    ['if the function does not permit it', { follow: () => false }],
  ])('is not followed %s', async (_when, options) => {
    const owner = await serveScript([]);
    const served = await serveScript([elsewhere(owner.address)], options);
    await expect(cat(served)).rejects.toMatchObject({
      reason: 'SESSION_ELSEWHERE',
      metadata: { endpoint: owner.address },
    });
    expect(owner.calls).toEqual([]);
  });

  it('is not looked for at a socket of this machine, for a server of another', async () => {
    const served = await serveScript([elsewhere('unix:/run/guestfs-grpc.sock')], { follow: true });
    await expect(cat(served)).rejects.toMatchObject({ reason: 'SESSION_ELSEWHERE' });
  });

  it('gets credentials of its own', async () => {
    const owner = await serveScript([]);
    const served = await serveScript([elsewhere(owner.address)], { follow: () => credentials.createSsl() });
    // The owner has no TLS, so only the attempt is visible.
    await expect(cat(served, { deadline: Date.now() + 3_000 })).rejects.not.toMatchObject({
      reason: 'SESSION_ELSEWHERE',
    });
    expect([served.calls.length, owner.calls.length]).toEqual([1, 0]);
  });

  it('is not followed in circles', async () => {
    const script: GuestfsError[] = [];
    const served = await serveScript(script, { follow: true });
    script.push(...Array.from({ length: 9 }, () => elsewhere(served.address)));
    await expect(cat(served)).rejects.toMatchObject({ reason: 'SESSION_ELSEWHERE' });
    expect(served.calls).toHaveLength(4);
  });

  it('reports an error of what permits it', async () => {
    const follow = (): never => {
      throw new Error('no list of replicas');
    };
    const served = await serveScript([elsewhere('127.0.0.1:1')], { follow });
    await expect(cat(served)).rejects.toThrow('no list of replicas');
  });

  it('is reached no more once the client is closed', async () => {
    const owner = await serveScript([]);
    const client = connect((await serveScript([elsewhere(owner.address)])).address, { follow: true });
    const guest = client.attach('s1');
    await guest.cat('/a');
    client.close();
    await expect(guest.cat('/a')).rejects.toMatchObject({ reason: 'CLIENT_CLOSED' } satisfies Partial<GuestfsRpcError>);
  });
});

it('a stream that has begun is not repeated', async () => {
  const served = await serve([
    [
      FileServiceService,
      {
        ls: (call: ServerWritableStream<object, object>): void => {
          call.write({ listing: ['a'] });
          call.emit('error', toStatus(refusal('QUEUE_FULL', SOON_MS), {}, silentLogger));
        },
      },
    ],
  ]);
  running.push(served);
  const reading = all(served.client.stream(FileServiceService.ls, { directory: '/' }));
  await expect(reading).rejects.toMatchObject({ reason: 'QUEUE_FULL' });
});
