/**
 * The connections to another replica. Each client's calls have connections of their own, so that what a client does to
 * a connection, such as cancelling calls until the other end closes it, happens to no other client.
 */
import { isIP } from 'node:net';
import {
  Client,
  connectivityState,
  status,
  type ChannelCredentials,
  type ClientDuplexStream,
  type Deadline,
  type Metadata,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { splitAddress } from '../address.js';
import { limitExceeded } from '../../common/limitExceeded.js';
import { ANSWER_MESSAGE_LIMIT } from '../answerEncoding.js';
import { ResetBudget } from './resetBudget.js';

/** Calls on one connection, below what servers accept; more of them need another connection. */
const CALLS_PER_CONNECTION = 200;
const MOST_PER_CLIENT = 16;
/** All clients together: the other replica has a limit as well. From then on, clients share connections. */
const MOST_CONNECTIONS = 128;
/** How long a client's connection may be without a call. */
const IDLE_MS = 60_000;
const RETRY_AFTER_MS = 1000;

const OPTIONS = {
  // A call that was sent must not be sent again.
  'grpc.enable_retries': 0,
  'grpc.max_receive_message_length': ANSWER_MESSAGE_LIMIT,
  'grpc.max_send_message_length': -1,
  // Notices a host that is gone while a call is waiting for its answer.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 5000,
  // Otherwise all of them would share a single connection.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
} as const;

/** Sent instead of a server name where there is only an IP address; the certificate's identity is what counts. */
const NO_NAME = 'guestfs-replica';

interface Connection {
  readonly stub: Client;
  /** The client that it was made for; undefined: this replica itself. */
  readonly owner: string | undefined;
  readonly resets: ResetBudget;
  calls: number;
  idle: NodeJS.Timeout | undefined;
}

/** Encoded messages in both directions. */
export type PeerCall = ClientDuplexStream<Buffer, Buffer>;

/** What is needed of a method to call it. */
type Method<Request, Answer> = Pick<
  MethodDefinition<Request, Answer>,
  'path' | 'requestSerialize' | 'responseDeserialize'
>;

/** The answer to a question, with its initial metadata. */
export interface PeerAnswer<Answer> {
  readonly answer: Answer;
  readonly metadata: Metadata | undefined;
}

const asIs = (bytes: Buffer): Buffer => bytes;
const CUT_OFF: ReadonlySet<status> = new Set([status.CANCELLED, status.DEADLINE_EXCEEDED]);

export class PeerLink {
  readonly #connections = new Set<Connection>();
  #isClosed = false;

  constructor(
    readonly address: string,
    private readonly credentials: () => ChannelCredentials,
    private readonly idleMs: number = IDLE_MS,
  ) {}

  /** Whether there is a connection now. */
  get isConnected(): boolean {
    return [...this.#connections].some(
      ({ stub }) => stub.getChannel().getConnectivityState(false) === connectivityState.READY,
    );
  }

  /**
   * Makes a call of any kind for a client, once there is a connection.
   * @throws Error, before anything is sent, if no connection can be made
   * @throws GuestfsError LIMIT_EXCEEDED
   */
  async call(
    client: string,
    path: string,
    metadata: Metadata,
    { deadline, connectBy }: { readonly deadline: Deadline; readonly connectBy: number },
  ): Promise<PeerCall> {
    const connection = this.#connectionFor(client);
    this.#began(connection);
    try {
      await connected(connection.stub, Math.min(Number(deadline), connectBy));
      const call = connection.stub.makeBidiStreamRequest(path, asIs, asIs, metadata, { deadline });
      call.once('status', ({ code }) => this.#ended(connection, code));
      return call;
    } catch (error) {
      this.#ended(connection, status.UNAVAILABLE);
      throw error;
    }
  }

  /**
   * Asks the other replica something.
   * @param client for which it is asked; undefined: for this replica itself, which no number of other calls prevents
   * @throws Error with the status; GuestfsError LIMIT_EXCEEDED
   */
  async ask<Request, Answer>(
    client: string | undefined,
    { path, requestSerialize, responseDeserialize }: Method<Request, Answer>,
    request: Request,
    { metadata, deadline }: { readonly metadata: Metadata; readonly deadline: Deadline },
  ): Promise<PeerAnswer<Answer>> {
    const connection = client === undefined ? this.#own() : this.#connectionFor(client);
    this.#began(connection);
    return new Promise((resolve, reject) => {
      let opened: Metadata | undefined;
      const call = connection.stub.makeUnaryRequest(
        ...([path, requestSerialize, responseDeserialize, request, metadata, { deadline }] as const),
        (error, answer) => {
          this.#ended(connection, error?.code ?? status.OK);
          if (error === null) resolve({ answer: answer as Answer, metadata: opened });
          else reject(error);
        },
      );
      call.once('metadata', (received: Metadata) => (opened = received));
    });
  }

  /** Closes the connections, once their calls have ended; there are no more calls. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections) this.#close(connection);
  }

  #began(connection: Connection): void {
    connection.calls += 1;
    clearTimeout(connection.idle);
  }

  #ended(connection: Connection, code: status): void {
    connection.calls -= 1;
    if (CUT_OFF.has(code)) connection.resets.add();
    if (connection.calls > 0 || connection.owner === undefined || !this.#connections.has(connection)) return;
    connection.idle = setTimeout(() => this.#close(connection), this.idleMs).unref();
  }

  #close(connection: Connection): void {
    clearTimeout(connection.idle);
    this.#connections.delete(connection);
    connection.stub.close();
  }

  #own(): Connection {
    for (const connection of this.#connections) if (connection.owner === undefined) return connection;
    return this.#connect(undefined);
  }

  #connectionFor(client: string): Connection {
    const clients = [...this.#connections].filter(({ owner }) => owner !== undefined);
    const own = clients.filter(({ owner }) => owner === client);
    const known = leastUsed(own);
    if (known !== undefined) return known;
    if (own.length < MOST_PER_CLIENT) {
      if (clients.length < MOST_CONNECTIONS) return this.#connect(client);
      const unused = clients.find(({ calls }) => calls === 0);
      if (unused !== undefined) {
        this.#close(unused);
        return this.#connect(client);
      }
      const shared = leastUsed(clients);
      if (shared !== undefined) return shared;
    }
    const maximum = CALLS_PER_CONNECTION * MOST_PER_CLIENT;
    throw limitExceeded(
      `${maximum} calls of this client are already in flight to the replica that has the session, or it has cancelled too many`,
      { limit: 'forwarded-calls', maximum, retryAfterMs: RETRY_AFTER_MS },
    );
  }

  #connect(owner: string | undefined): Connection {
    if (this.#isClosed) throw new Error('the replica is not among the others any more');
    const name = isIP(splitAddress(this.address)?.host ?? '') === 0 ? {} : { 'grpc.ssl_target_name_override': NO_NAME };
    const stub = new Client(this.address, this.credentials(), { ...OPTIONS, ...name });
    const connection: Connection = { stub, owner, resets: new ResetBudget(), calls: 0, idle: undefined };
    this.#connections.add(connection);
    return connection;
  }
}

/** The least used of the connections that can take another call. */
function leastUsed(connections: readonly Connection[]): Connection | undefined {
  let least: Connection | undefined;
  for (const one of connections) {
    if (one.calls >= CALLS_PER_CONNECTION || !one.resets.covers(one.calls + 1)) continue;
    if (least === undefined || one.calls < least.calls) least = one;
  }
  return least;
}

/** Waits for a connection; rejects as soon as an attempt has failed. */
async function connected(client: Client, deadline: number): Promise<void> {
  const channel = client.getChannel();
  for (;;) {
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return;
    if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN)
      throw new Error('no connection can be made');
    await new Promise<void>((resolve, reject) => {
      channel.watchConnectivityState(state, deadline, (error) => {
        if (error === undefined) resolve();
        else reject(new Error('connecting takes too long'));
      });
    });
  }
}
