/** Sessions of the client, their events, and their end. */
import { once } from 'node:events';
import { status, type ServerUnaryCall, type ServerWritableStream, type sendUnaryData } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ConnectOptions } from '../../../clients/typescript/src/index.js';
import {
  EventServiceService,
  EventType,
  type SubscribeRequest,
  type SubscribeResponse,
} from '../../../gen/proto/guestfs/v1/event.js';
import {
  SessionServiceService,
  type CreateSessionRequest,
  type CreateSessionResponse,
  type DeleteSessionRequest,
  type DeleteSessionResponse,
} from '../../../gen/proto/guestfs/v1/session.js';
import { serve, type Served } from './server.js';

let served: Served | undefined;
afterEach(() => served?.close());

interface Seen {
  readonly created: CreateSessionRequest[];
  readonly deleted: string[];
}

type Subscriber = ServerWritableStream<SubscribeRequest, SubscribeResponse>;

async function serveSessions(
  subscribe: (call: Subscriber) => void = () => undefined,
  options: ConnectOptions = {},
): Promise<Seen & { readonly client: Served['client'] }> {
  const seen: Seen = { created: [], deleted: [] };
  const createSession = (
    { request }: ServerUnaryCall<CreateSessionRequest, CreateSessionResponse>,
    answer: sendUnaryData<CreateSessionResponse>,
  ): void => {
    seen.created.push(request);
    answer(null, { id: request.session_id ?? 'made', session: undefined });
  };
  const deleteSession = (
    { request }: ServerUnaryCall<DeleteSessionRequest, DeleteSessionResponse>,
    answer: sendUnaryData<DeleteSessionResponse>,
  ): void => {
    seen.deleted.push(request.id);
    if (request.id === 'full') answer({ code: status.RESOURCE_EXHAUSTED, details: 'disk full' });
    else answer(null, {});
  };
  served = await serve(
    [
      [SessionServiceService, { createSession, deleteSession }],
      [EventServiceService, { subscribe }],
    ],
    options,
  );
  return { client: served.client, ...seen };
}

const event = (type: EventType, more: Partial<SubscribeResponse> = {}): SubscribeResponse => ({
  type,
  time: undefined,
  sequence: 0n,
  lost: 0n,
  detail: undefined,
  ...more,
});

describe('a session', () => {
  it('is created with the requested options', async () => {
    const { client, created } = await serveSessions();
    const session = await client.session({
      drives: [
        { path: 'disk.img', format: 'raw', writable: true },
        { scratchSize: 1024n, label: 'empty' },
        { remote: { protocol: 'https', server: ['host'], filename: 'a.img' } },
      ],
      launch: true,
      labels: new Map([['purpose', 'test']]),
      settings: { memsize: 768 },
    });
    expect(session.id).toBe('made');
    expect(created).toMatchObject([
      {
        drives: [
          { source: { $case: 'path', value: 'disk.img' }, format: 'raw', writable: true },
          { source: { $case: 'scratch_size', value: 1024n }, label: 'empty', writable: false },
          { source: { $case: 'remote', value: { protocol: 'https', filename: 'a.img' } }, writable: false },
        ],
        launch: true,
        settings: { memsize: 768 },
      },
    ]);
    expect(created[0]?.labels).toEqual(new Map([['purpose', 'test']]));
  });

  it('ends once, however often that is requested', async () => {
    const { client, deleted } = await serveSessions();
    {
      await using session = await client.session({ sessionId: 'one' });
      await session.end();
    }
    expect(deleted).toEqual(['one']);
  });

  it('ends with its scope', async () => {
    const { client, deleted } = await serveSessions();
    const failing = async (): Promise<void> => {
      await using session = await client.session({ sessionId: 'one' });
      throw new Error(`in ${session.id}`);
    };
    await expect(failing()).rejects.toThrow('in one');
    expect(deleted).toEqual(['one']);
  });

  it('reports, when it ends, what could not be written', async () => {
    const { client } = await serveSessions();
    await expect(client.attach('full').end()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  it('can be ended again if that failed, and reports it once', async () => {
    const { client, deleted } = await serveSessions();
    const failing = async (): Promise<void> => {
      await using session = client.attach('full');
      await session.end().catch(() => undefined);
      await session.end();
    };
    await expect(failing()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect(deleted).toEqual(['full', 'full']);
  });

  it('can be ended after its client has cancelled everything', async () => {
    const controller = new AbortController();
    const { client, deleted } = await serveSessions(undefined, { signal: controller.signal });
    const session = await client.session();
    controller.abort();
    await expect(session.describe()).rejects.toMatchObject({ code: status.CANCELLED });
    await session.end();
    expect(deleted).toEqual(['made']);
  });
});

describe('events', () => {
  it('arrive in order, of the requested types, until the session ends', async () => {
    const { client } = await serveSessions((call) => {
      expect(call.metadata.get('guestfs-session')).toEqual(['one']);
      for (const type of call.request.types) call.write(event(type, { lost: 2n }));
      call.end();
    });
    const types = [EventType.PROGRESS, EventType.CLOSE];
    const got: SubscribeResponse[] = [];
    for await (const one of await client.attach('one').events(types)) got.push(one);
    expect(got.map(({ type, lost }) => [type, lost])).toEqual(types.map((type) => [type, 2n]));
  });

  it('are subscribed to only once the server has confirmed it', async () => {
    let confirmed = false;
    const { client } = await serveSessions((call) => {
      setTimeout(() => {
        confirmed = true;
        call.sendMetadata(call.metadata);
      }, 50);
    });
    await using _events = await client.attach('one').events();
    expect(confirmed).toBe(true);
  });

  it('cannot be subscribed to if the RPC fails', async () => {
    const { client } = await serveSessions((call) => {
      call.emit('error', { code: status.NOT_FOUND, details: 'no such session' });
    });
    await expect(client.attach('one').events()).rejects.toMatchObject({
      code: status.NOT_FOUND,
      rpc: 'EventService/Subscribe',
    });
  });

  it('are cancelled when the loop is left, or explicitly', async () => {
    const cancelled: Promise<unknown>[] = [];
    const { client } = await serveSessions((call) => {
      cancelled.push(once(call, 'cancelled'));
      call.write(event(EventType.ENTER));
    });
    for await (const { type } of await client.attach('one').events()) {
      expect(type).toBe(EventType.ENTER);
      break;
    }
    const events = await client.attach('one').events();
    const reading = (async () => {
      for await (const { type } of events) {
        expect(type).toBe(EventType.ENTER);
        events.cancel();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: status.CANCELLED, rpc: 'EventService/Subscribe' });
    await Promise.all(cancelled);
  });
});
