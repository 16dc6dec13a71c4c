/** The connections of a client: to the server that it was given, and to the replicas that this server names. */
import { Client, credentials, status, type ChannelCredentials, type ClientOptions } from '@grpc/grpc-js';
import { clientError, type GuestfsRpcError } from './error.js';

/** Some answers of daemons are close to their own limit of 4 MiB, which is also gRPC's default. */
const ANSWER_LIMIT = 8 * 1024 * 1024;

/** A client has connections to this many other replicas at most, whatever servers name. */
const REPLICA_LIMIT = 256;

/**
 * Which other replicas a client connects to when a server says that one of them has the session (SESSION_ELSEWHERE):
 * none, the default; all; those at these addresses; or what a function says of an address: whether it is permitted, or the
 * credentials for it. By default, the credentials are those of {@link ConnectOptions.credentials}, which the other replica
 * then gets as well.
 */
export type Follow =
  | boolean
  | readonly string[]
  | ((endpoint: string) => boolean | ChannelCredentials | Promise<boolean | ChannelCredentials>);

/** How to connect. */
export interface ConnectOptions {
  /** TLS, from grpc-js's `credentials.createSsl`; by default, the connection is not encrypted. */
  readonly credentials?: ChannelCredentials;
  /** Options of grpc-js for the connection, and for those to other replicas. */
  readonly channel?: ClientOptions;
  /** Aborting it cancels all calls, but not the end of a session. */
  readonly signal?: AbortSignal;
  /** Which other replicas it may connect to. */
  readonly follow?: Follow;
  /**
   * How often a call is repeated that the service refused with a RetryInfo: then nothing was done, and the same call can
   * succeed after the delay that it states. 0: never. Default: 3.
   */
  readonly retries?: number;
}

/** Where a call is made. */
export interface Route {
  readonly channel: Client;
  /** The server's address, if it is known. */
  readonly address?: string;
}

function open(address: string, how: ChannelCredentials, channel: ClientOptions | undefined): Route {
  if (typeof address !== 'string' || address === '')
    throw clientError('connect', 'BAD_ARGUMENT', 'the address is no text, or empty');
  try {
    const options = { 'grpc.max_receive_message_length': ANSWER_LIMIT, ...channel };
    return { address, channel: new Client(address, how, options) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw clientError('connect', 'BAD_ARGUMENT', `${address} is no address: ${why}`, { cause: error });
  }
}

/** Connections of one client. */
export class Connections {
  readonly first: Route;
  /** How often a call is repeated. */
  readonly retries: number;
  readonly #credentials: ChannelCredentials;
  readonly #options: Pick<ConnectOptions, 'channel' | 'follow'>;
  readonly #others = new Map<string, Route>();
  #closed = false;

  private constructor(first: Route, { credentials: given, channel, follow, retries }: ConnectOptions) {
    this.first = first;
    this.retries = retries ?? 3;
    this.#credentials = given ?? credentials.createInsecure();
    this.#options = { ...(channel === undefined ? {} : { channel }), ...(follow === undefined ? {} : { follow }) };
  }

  /**
   * To a server at an address.
   * @throws GuestfsRpcError BAD_ARGUMENT
   */
  static to(address: string, options: ConnectOptions): Connections {
    const first = open(address, options.credentials ?? credentials.createInsecure(), options.channel);
    return new Connections(first, options);
  }

  /** That of an existing channel alone: nothing is repeated, and no other replica is called. */
  static over(channel: Client): Connections {
    return new Connections({ channel }, { retries: 0 });
  }

  /** Whether a call may be made more than once. */
  get mayRepeat(): boolean {
    return this.retries > 0 || (this.#options.follow ?? false) !== false;
  }

  /** @throws GuestfsRpcError CLIENT_CLOSED */
  requireOpen(rpc: string): void {
    if (this.#closed)
      throw clientError(rpc, 'CLIENT_CLOSED', 'the client was closed', { code: status.FAILED_PRECONDITION });
  }

  /**
   * The connection to another replica; undefined if it is not permitted.
   * @param error that of a call that names the replica
   */
  async elsewhere({ info, rpc }: GuestfsRpcError): Promise<Route | undefined> {
    const endpoint = info?.metadata['endpoint'];
    if (info?.reason !== 'SESSION_ELSEWHERE' || endpoint === undefined) return undefined;
    const permitted = await this.#credentialsFor(endpoint);
    if (permitted === undefined) return undefined;
    // It may have been closed meanwhile.
    this.requireOpen(rpc);
    const known = this.#others.get(endpoint);
    if (known !== undefined) return known;
    if (this.#others.size >= REPLICA_LIMIT) return undefined;
    const route = open(endpoint, permitted, this.#options.channel);
    this.#others.set(endpoint, route);
    return route;
  }

  async #credentialsFor(endpoint: string): Promise<ChannelCredentials | undefined> {
    const { follow = false } = this.#options;
    if (typeof follow === 'function') {
      const answer = await follow(endpoint);
      if (typeof answer === 'boolean') return answer ? this.#credentials : undefined;
      return answer;
    }
    // The other server's socket is not one of this machine, unless that of the first is.
    const reachable = !endpoint.startsWith('unix:') || this.first.address?.startsWith('unix:') === true;
    const permitted = typeof follow === 'boolean' ? follow && reachable : follow.includes(endpoint);
    return permitted ? this.#credentials : undefined;
  }

  close(): void {
    this.#closed = true;
    for (const { channel } of [this.first, ...this.#others.values()]) channel.close();
  }
}
