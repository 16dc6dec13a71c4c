/** A client for tests: any action by its libguestfs name, over real gRPC. */
import {
  credentials,
  Metadata,
  status,
  type CallOptions,
  type ChannelCredentials,
  type ClientOptions,
  type MethodDefinition,
  type ServiceError,
  Client,
} from '@grpc/grpc-js';
import { services } from '../../gen/services.js';
import { InspectionServiceClient } from '../../gen/proto/guestfs/v1/inspection.js';
import type { InspectRequest, InspectResponse } from '../../gen/proto/guestfs/v1/inspection_report.js';
import { EventServiceClient, type EventType, type SubscribeResponse } from '../../gen/proto/guestfs/v1/event.js';
import {
  SessionServiceClient,
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
import { errorInfoOf, type ErrorInfo } from './errorInfo.js';

type AnyMethod = MethodDefinition<object, object>;

/** A failed call, as a client sees it. */
export class CallFailure extends Error {
  constructor(
    readonly code: status,
    readonly details: string,
    readonly info: ErrorInfo | undefined,
    readonly metadata: Metadata,
  ) {
    super(`${status[code]}: ${details}`);
  }
}

export function asFailure(error: unknown): CallFailure {
  const { code, details, metadata } = error as ServiceError;
  return new CallFailure(code, details, errorInfoOf(metadata), metadata);
}

/** What a call fails with; throws when it does not fail. */
export async function failureOf(call: Promise<unknown>, name = 'the call'): Promise<CallFailure> {
  try {
    await call;
  } catch (error) {
    if (error instanceof CallFailure) return error;
    throw error;
  }
  throw new Error(`${name} was expected to fail`);
}

function rpcOf(name: string): { action: ActionDef; method: AnyMethod } {
  for (const area of areas) {
    const action = area.actions.find((candidate) => candidate.name === name);
    const service = services[area.name];
    if (action && service) return { action, method: memberOf(service, pascalCase(action.name)).method };
  }
  throw new Error(`no RPC for ${name}`);
}

/** What a subscriber has got so far, and how to wait for more. */
export interface Subscription {
  readonly events: SubscribeResponse[];
  /** The first event that matches, past or to come. */
  event(matches: (event: SubscribeResponse) => boolean): Promise<SubscribeResponse>;
  /** The first QUEUED, STARTED or FINISHED of an action. */
  callEvent(type: EventType, action: string): Promise<SubscribeResponse>;
  /** Settles with the stream. */
  readonly ended: Promise<void>;
  cancel(): void;
}

export class TestClient {
  readonly client: Client;
  readonly sessions: SessionServiceClient;
  readonly events: EventServiceClient;
  readonly inspection: InspectionServiceClient;

  /** @param options without any, it takes messages of any size, as other clients do not */
  constructor(
    readonly address: string,
    channelCredentials: ChannelCredentials = credentials.createInsecure(),
    options: ClientOptions = { 'grpc.max_receive_message_length': -1 },
  ) {
    this.client = new Client(address, channelCredentials, options);
    this.sessions = new SessionServiceClient(address, channelCredentials, options);
    this.events = new EventServiceClient(address, channelCredentials, options);
    this.inspection = new InspectionServiceClient(address, channelCredentials, options);
  }

  close(): void {
    this.client.close();
    this.sessions.close();
    this.events.close();
    this.inspection.close();
  }

  createSession(request: Partial<CreateSessionRequest> = {}): Promise<Session> {
    const whole: CreateSessionRequest = {
      session_id: undefined,
      drives: [],
      settings: undefined,
      launch: false,
      idle_timeout: undefined,
      labels: new Map(),
      ...request,
    };
    return new Promise((resolve, reject) => {
      this.sessions.createSession(whole, (error, response) =>
        error ? reject(asFailure(error)) : resolve(response.session as Session),
      );
    });
  }

  getSession(id: string): Promise<Session> {
    return new Promise((resolve, reject) => {
      this.sessions.getSession({ id }, (error, response) =>
        error ? reject(asFailure(error)) : resolve(response.session as Session),
      );
    });
  }

  getLog(id: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.sessions.getLog({ id }, (error, response) => (error ? reject(asFailure(error)) : resolve(response.log)));
    });
  }

  deleteSession(id: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.sessions.deleteSession({ id }, (error) => (error ? reject(asFailure(error)) : resolve()));
    });
  }

  /** The raw stream of Inspect. */
  openInspect(request: Partial<InspectRequest>, options: CallOptions = {}) {
    const whole: InspectRequest = {
      drives: [],
      keys: [],
      without_applications: false,
      settings: undefined,
      session_id: undefined,
      ...request,
    };
    return this.inspection.inspect(whole, new Metadata(), options);
  }

  /** All parts of a report, without heartbeats. */
  inspect(request: Partial<InspectRequest>, options: CallOptions = {}): Promise<InspectResponse[]> {
    return new Promise((resolve, reject) => {
      const stream = this.openInspect(request, options);
      const parts: InspectResponse[] = [];
      stream.on('data', (part: InspectResponse) => {
        if (part.part !== undefined) parts.push(part);
      });
      stream.on('error', (error) => reject(asFailure(error)));
      stream.on('end', () => resolve(parts));
    });
  }

  /** The events of a session, from the moment that the server has subscribed us. */
  async subscribe(id: string, types: EventType[] = []): Promise<Subscription> {
    const stream = this.events.subscribe({ types }, sessionMetadata(id));
    const events: SubscribeResponse[] = [];
    const watchers = new Set<(event: SubscribeResponse) => void>();
    stream.on('data', (event: SubscribeResponse) => {
      events.push(event);
      for (const watch of watchers) watch(event);
    });
    const ended = new Promise<void>((resolve, reject) => {
      stream.on('end', () => resolve());
      stream.on('error', (error) => reject(asFailure(error)));
    });
    ended.catch(() => undefined);
    await new Promise<void>((resolve, reject) => {
      stream.once('metadata', () => resolve());
      stream.once('error', (error) => reject(asFailure(error)));
    });
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

/** A request, or arguments, with whatever is left out empty. */
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
    const { action, method } = rpcOf(name);
    const request = fill(action, given);
    if (isStreamedAnswer(action)) {
      const batches = await this.#collect(method, request, options);
      return batches.flatMap((batch) => Object.values(batch)[0] as unknown[]) as never;
    }
    const response = await new Promise<object>((resolve, reject) => {
      this.client.client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        sessionMetadata(this.id),
        options,
        (error, value) => (error ? reject(asFailure(error)) : resolve(value as object)),
      );
    });
    return Object.values(response)[0] as never;
  }

  /** What a failing action fails with; throws when it does not fail. */
  async failure(name: string, given: object = {}, options: CallOptions = {}): Promise<CallFailure> {
    return failureOf(this.call(name, given, options), name);
  }

  /** A FileOut action: the file. */
  async download(name: string, given: object, options: CallOptions = {}): Promise<Buffer> {
    const { action, method } = rpcOf(name);
    if (!isFileOut(action)) throw new Error(`${name} streams no file`);
    const messages = await this.#collect(method, fill(action, given), options);
    return Buffer.concat(messages.map((message) => (message as { chunk: Buffer }).chunk));
  }

  /** A FileIn action; `chunks` are sent as they come, until the server has answered. */
  async upload(
    name: string,
    given: object,
    chunks: Iterable<Buffer> | AsyncIterable<Buffer>,
    options: CallOptions = {},
  ): Promise<void> {
    const { stream, done } = this.openUpload(name, options);
    let answered = false;
    const answer = done.finally(() => {
      answered = true;
    });
    answer.catch(() => undefined);
    stream.write(argumentsOf(name, given));
    const source = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
    for (;;) {
      const next = await Promise.race([source.next(), answer]);
      if (next === undefined || next.done || answered) break;
      if (!stream.write({ payload: { $case: 'chunk', value: next.value } })) {
        await Promise.race([new Promise((resolve) => stream.once('drain', resolve)), answer]);
      }
    }
    stream.end();
    await answer;
  }

  /** The raw stream of a FileIn action. */
  openUpload(name: string, options: CallOptions = {}) {
    const { action, method } = rpcOf(name);
    if (!isFileIn(action)) throw new Error(`${name} takes no file`);
    let settle: (error: ServiceError | null) => void = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      settle = (error) => (error ? reject(asFailure(error)) : resolve());
    });
    done.catch(() => undefined);
    const stream = this.client.client.makeClientStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      sessionMetadata(this.id),
      options,
      (error) => settle(error),
    );
    return { stream, done };
  }

  /** The raw stream of an action that is answered in a stream. */
  openStream(name: string, given: object, options: CallOptions = {}) {
    const { action, method } = rpcOf(name);
    return this.client.client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      fill(action, given),
      sessionMetadata(this.id),
      options,
    );
  }

  #collect(method: AnyMethod, request: object, options: CallOptions): Promise<object[]> {
    return new Promise((resolve, reject) => {
      const stream = this.client.client.makeServerStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        sessionMetadata(this.id),
        options,
      );
      const messages: object[] = [];
      stream.on('data', (message: object) => messages.push(message));
      stream.on('error', (error) => reject(asFailure(error)));
      stream.on('end', () => resolve(messages));
    });
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
    ...more,
  };
}

/** Read-only, as all drives of CreateSession are unless they say otherwise. */
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
