/** The connections to another replica. */
import { isIP } from 'node:net';
import {
  Client,
  connectivityState,
  type ChannelCredentials,
  type ClientDuplexStream,
  type Deadline,
  type Metadata,
} from '@grpc/grpc-js';
import { splitAddress } from '../address.js';
import { limitExceeded } from '../../common/limitExceeded.js';
import { ANSWER_MESSAGE_LIMIT } from '../answerEncoding.js';

/** Calls on one connection, below what servers accept; more of them need another connection. */
const CALLS_PER_CONNECTION = 200;
const MOST_CONNECTIONS = 16;
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
  readonly client: Client;
  calls: number;
}

/** Encoded messages in both directions. */
export type PeerCall = ClientDuplexStream<Buffer, Buffer>;

const asIs = (bytes: Buffer): Buffer => bytes;

export class PeerLink {
  readonly #connections: Connection[] = [];

  constructor(
    readonly address: string,
    private readonly credentials: () => ChannelCredentials,
  ) {}

  /** Whether there is a connection now. */
  get isConnected(): boolean {
    return this.#connections.some(
      ({ client }) => client.getChannel().getConnectivityState(false) === connectivityState.READY,
    );
  }

  /**
   * Makes a call of any kind, once there is a connection.
   * @throws Error, before anything is sent, if no connection can be made
   * @throws GuestfsError LIMIT_EXCEEDED
   */
  async call(path: string, metadata: Metadata, deadline: Deadline, connectBy: number): Promise<PeerCall> {
    const connection = this.#leastUsed();
    connection.calls += 1;
    try {
      await connected(connection.client, Math.min(Number(deadline), connectBy));
      const call = connection.client.makeBidiStreamRequest(path, asIs, asIs, metadata, { deadline });
      call.once('status', () => (connection.calls -= 1));
      return call;
    } catch (error) {
      connection.calls -= 1;
      throw error;
    }
  }

  /** A connection for typed calls. */
  get client(): Client {
    return this.#leastUsed().client;
  }

  /** Closes the connections, once their calls have ended. */
  close(): void {
    for (const { client } of this.#connections.splice(0)) client.close();
  }

  #leastUsed(): Connection {
    const least = this.#connections.reduce<Connection | undefined>(
      (best, one) => (best === undefined || one.calls < best.calls ? one : best),
      undefined,
    );
    if (least !== undefined && least.calls < CALLS_PER_CONNECTION) return least;
    const maximum = CALLS_PER_CONNECTION * MOST_CONNECTIONS;
    if (this.#connections.length === MOST_CONNECTIONS)
      throw limitExceeded(`${maximum} calls are already in flight to the replica that has the session`, {
        limit: 'forwarded-calls',
        maximum,
        retryAfterMs: RETRY_AFTER_MS,
      });
    const name = isIP(splitAddress(this.address)?.host ?? '') === 0 ? {} : { 'grpc.ssl_target_name_override': NO_NAME };
    const connection = { client: new Client(this.address, this.credentials(), { ...OPTIONS, ...name }), calls: 0 };
    this.#connections.push(connection);
    return connection;
  }
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
