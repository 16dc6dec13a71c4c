/** The client for tests: calls any action by its libguestfs name, fills in omitted fields, and collects events. */
import {
  Client,
  credentials,
  Metadata,
  type ChannelCredentials,
  type ClientOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import {
  Connections,
  GuestfsClient,
  GuestfsRpcError,
  Session as ClientSession,
  type CallOptions,
  type ClientStreamMethod,
  type FileInMethod,
  type FileOutMethod,
  type ServerStreamMethod,
  type UnaryMethod,
  type UploadSource,
} from '../../clients/typescript/src/index.js';
import { services } from '../../gen/services.js';
import { InspectionServiceService } from '../../gen/proto/guestfs/v1/inspection.js';
import type { InspectRequest, InspectResponse } from '../../gen/proto/guestfs/v1/inspection_report.js';
import type { EventType, SubscribeResponse } from '../../gen/proto/guestfs/v1/event.js';
import {
  SessionServiceService,
  type CreateSessionRequest,
  type DriveSpec,
  type RemoteDrive,
  type Session,
} from '../../gen/proto/guestfs/v1/session.js';
import { areas } from '../../src/actions/areas.js';
import { isFileIn, isFileOut, isStreamedAnswer } from '../../src/actions/shape.js';
import type { ActionDef } from '../../src/actions/types.js';
import { pascalCase } from '../../src/actions/names.js';
import { rpcOf as memberOf } from '../../src/server/methods.js';

/** The error of a call that was made without the client. */
export function asFailure(error: unknown): GuestfsRpcError {
  return new GuestfsRpcError('the call', error as ServiceError);
}

/** The error that a call fails with; throws if it does not fail. */
export async function failureOf(call: Promise<unknown>, name = 'the call'): Promise<GuestfsRpcError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof GuestfsRpcError) return error;
    throw error;
  }
  throw new Error(`${name} was expected to fail`);
}

/** The RPC of an action; the caller knows its kind. */
function rpcOf<Method>(name: string): { action: ActionDef; method: Method } {
  for (const area of areas) {
    const action = area.actions.find((candidate) => candidate.name === name);
    const service = services[area.name];
    if (action && service) return { action, method: memberOf(service, pascalCase(action.name)).method as Method };
  }
  throw new Error(`no RPC for ${name}`);
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The events that a subscriber has received so far, with means to wait for more. */
export interface Subscription {
  readonly events: SubscribeResponse[];
  /** The first matching event, past or future. */
  event(matches: (event: SubscribeResponse) => boolean): Promise<SubscribeResponse>;
  /** The first QUEUED, STARTED or FINISHED of an action. */
  callEvent(type: EventType, action: string): Promise<SubscribeResponse>;
  /** Settles with the stream. */
  readonly ended: Promise<void>;
  cancel(): void;
}

export class TestClient extends GuestfsClient {
  readonly channel: Client;
  readonly #connections: Connections;

  /** @param options by default, it accepts messages of any size, unlike other clients */
  constructor(
    readonly address: string,
    channelCredentials: ChannelCredentials = credentials.createInsecure(),
    options: ClientOptions = { 'grpc.max_receive_message_length': -1 },
  ) {
    const channel = new Client(address, channelCredentials, options);
    const connections = Connections.over(channel);
    super(connections);
    this.channel = channel;
    this.#connections = connections;
  }

  /** The RPCs of a session, whatever its ID. */
  sessionAt(id: string): ClientSession {
    return new ClientSession(this.#connections, id);
  }

  async createSession(request: Partial<CreateSessionRequest> = {}, options: CallOptions = {}): Promise<Session> {
    const whole: CreateSessionRequest = {
      session_id: undefined,
      drives: [],
      settings: undefined,
      launch: false,
      idle_timeout: undefined,
      labels: new Map(),
      ...request,
    };
    return (await this.call(SessionServiceService.createSession, whole, options)).session as Session;
  }

  getSession(id: string): Promise<Session> {
    return this.sessionAt(id).describe();
  }

  getLog(id: string): Promise<string> {
    return this.sessionAt(id).log();
  }

  deleteSession(id: string): Promise<void> {
    return this.sessionAt(id).end();
  }

  /** The raw stream of Inspect. */
  openInspect(request: Partial<InspectRequest>, options: CallOptions = {}): ClientReadableStream<InspectResponse> {
    return this.openStream(InspectionServiceService.inspect, wholeInspect(request), options);
  }

  /** All parts of a report, without heartbeats. */
  async inspect(request: Partial<InspectRequest>, options: CallOptions = {}): Promise<InspectResponse[]> {
    const parts = await collect(this.stream(InspectionServiceService.inspect, wholeInspect(request), options));
    return parts.filter(({ part }) => part !== undefined);
  }

  /** The events of a session; resolves when the server has confirmed the subscription. */
  async subscribe(id: string, types: EventType[] = []): Promise<Subscription> {
    const stream = await this.sessionAt(id).events(types);
    const events: SubscribeResponse[] = [];
    const watchers = new Set<(event: SubscribeResponse) => void>();
    const ended = (async () => {
      for await (const event of stream) {
        events.push(event);
        for (const watch of watchers) watch(event);
      }
    })();
    ended.catch(() => undefined);
    const event = (matches: (event: SubscribeResponse) => boolean): Promise<SubscribeResponse> =>
      new Promise((resolve, reject) => {
        const found = events.find(matches);
        if (found) return resolve(found);
        const watch = (one: SubscribeResponse): void => {
          if (!matches(one)) return;
          watchers.delete(watch);
          resolve(one);
        };
        watchers.add(watch);
        ended.then(() => reject(new Error('the events ended without the one awaited')), reject);
      });
    const callEvent = (type: EventType, action: string): Promise<SubscribeResponse> =>
      event((one) => one.type === type && one.detail?.$case === 'call' && one.detail.value.action === action);
    return { events, event, callEvent, ended, cancel: () => stream.cancel() };
  }
}

export function sessionMetadata(id: string): Metadata {
  const metadata = new Metadata();
  metadata.set('guestfs-session', id);
  return metadata;
}

function wholeInspect(request: Partial<InspectRequest>): InspectRequest {
  return {
    drives: [],
    keys: [],
    without_applications: false,
    settings: undefined,
    session_id: undefined,
    include_snapshots: false,
    ...request,
  };
}

/** A request, or arguments, with omitted fields empty. */
function fill(action: ActionDef, given: object): object {
  const empty: Record<string, unknown> = {};
  for (const argument of action.args) {
    switch (argument.type) {
      case 'string_list':
        empty[argument.name] = [];
        break;
      case 'buffer':
        empty[argument.name] = Buffer.alloc(0);
        break;
      case 'bool':
        empty[argument.name] = false;
        break;
      case 'int':
        empty[argument.name] = 0;
        break;
      case 'int64':
        empty[argument.name] = 0n;
        break;
      case 'opt_string':
        break;
      default:
        empty[argument.name] = '';
    }
  }
  return { ...empty, ...given };
}

/** A session's calls. */
export class SessionClient {
  constructor(
    readonly client: TestClient,
    readonly id: string,
  ) {}

  /** The value of a unary action, or all batches of a streamed one. */
  async call(name: string, given: object = {}, options: CallOptions = {}): Promise<never> {
    const { action, method } = rpcOf<UnaryMethod<object, object> | ServerStreamMethod<object, object>>(name);
    const request = fill(action, given);
    if (isStreamedAnswer(action) && method.responseStream) {
      const batches = await collect(this.#session.stream(method, request, options));
      return batches.flatMap((batch) => Object.values(batch)[0] as unknown[]) as never;
    }
    const response = await this.#session.call(method as UnaryMethod<object, object>, request, options);
    return Object.values(response)[0] as never;
  }

  /** The error that an action fails with; throws if it does not fail. */
  async failure(name: string, given: object = {}, options: CallOptions = {}): Promise<GuestfsRpcError> {
    return failureOf(this.call(name, given, options), name);
  }

  /** A FileOut action: the file. */
  async download(name: string, given: object, options: CallOptions = {}): Promise<Buffer> {
    const { action, method } = rpcOf<FileOutMethod<object>>(name);
    if (!isFileOut(action)) throw new Error(`${name} streams no file`);
    return Buffer.concat(await collect(this.#session.download(method, fill(action, given), options)));
  }

  /** A FileIn action. */
  async upload(name: string, given: object, source: UploadSource, options: CallOptions = {}): Promise<void> {
    const { action, method } = rpcOf<FileInMethod<object, object>>(name);
    if (!isFileIn(action)) throw new Error(`${name} takes no file`);
    await this.#session.upload(method, fill(action, given), source, options);
  }

  /** The raw stream of a FileIn action. */
  openUpload(
    name: string,
    options: CallOptions = {},
  ): { readonly stream: ClientWritableStream<object>; readonly done: Promise<unknown> } {
    const { action, method } = rpcOf<ClientStreamMethod<object, object>>(name);
    if (!isFileIn(action)) throw new Error(`${name} takes no file`);
    const { stream, answer } = this.#session.openUpload(method, options);
    return { stream, done: answer };
  }

  /** The raw stream of an action that is answered in a stream. */
  openStream(name: string, given: object, options: CallOptions = {}): ClientReadableStream<object> {
    const { action, method } = rpcOf<ServerStreamMethod<object, object>>(name);
    return this.#session.openStream(method, fill(action, given), options);
  }

  get #session() {
    return this.client.sessionAt(this.id);
  }
}

/** The first message of a FileIn action. */
export function argumentsOf(name: string, given: object): object {
  return { payload: { $case: 'arguments', value: fill(rpcOf(name).action, given) } };
}

/** Drives for CreateSession. */
export function imageDrive(path: string, more: Partial<DriveSpec> = {}): DriveSpec {
  return {
    source: { $case: 'path', value: path },
    format: 'raw',
    writable: true,
    label: undefined,
    cachemode: undefined,
    discard: undefined,
    blocksize: undefined,
    backing_formats: [],
    ...more,
  };
}

/** A read-only drive, the default in CreateSession. */
export function remoteDrive(remote: Partial<RemoteDrive>, more: Partial<DriveSpec> = {}): DriveSpec {
  return {
    ...imageDrive(''),
    format: undefined,
    writable: false,
    source: {
      $case: 'remote',
      value: { protocol: '', server: [], filename: '', username: undefined, secret: undefined, ...remote },
    },
    ...more,
  };
}

export function scratchDrive(size: number, more: Partial<DriveSpec> = {}): DriveSpec {
  return { ...imageDrive(''), format: undefined, source: { $case: 'scratch_size', value: BigInt(size) }, ...more };
}
