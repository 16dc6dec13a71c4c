/** The gateway's connections to the gRPC server. */
import { Metadata, status, type ChannelCredentials, type StatusObject } from '@grpc/grpc-js';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import { limitExceeded } from '../common/limitExceeded.js';
import type { Logger } from '../common/logger.js';
import { socketPath } from '../server/address.js';
import { PeerLink, type PeerCall } from '../server/replicas/peerLink.js';

/** How long connecting may take. */
const CONNECT_MS = 3000;
/** How long the server may take to answer who it takes the gateway for. */
const ASK_MS = 10_000;
/** How long it may take to say whether it serves. */
const HEALTH_MS = 2000;
/** How long its answer holds: it can be restarted with other flags. */
const ANSWER_HOLDS_MS = 10_000;
const RETRY_AFTER_MS = 1000;

/** gRPC's health service, as far as it is needed; a server is asked about as a whole by an empty request. */
const HEALTH = {
  path: '/grpc.health.v1.Health/Check',
  requestSerialize: () => Buffer.alloc(0),
  /** Whether the field `status`, the only one, is SERVING. */
  responseDeserialize: (bytes: Buffer) => bytes.equals(Buffer.from([0x08, 0x01])),
};

/** The server. */
export interface UpstreamOptions {
  readonly address: string;
  readonly credentials: () => ChannelCredentials;
  /** Whether the gateway proves to the server who it is: by a certificate, or as the user of a Unix socket. */
  readonly hasIdentity: boolean;
  readonly logger: Logger;
}

/** How a server takes calls of the gateway that name no client. */
export type Anonymous = 'refused' | 'served';

export class Upstream {
  readonly #link: PeerLink;
  #known: { readonly anonymous: Promise<Anonymous>; readonly until: number } | undefined;

  constructor(private readonly options: UpstreamOptions) {
    this.#link = new PeerLink(options.address, options.credentials);
  }

  /**
   * Makes a call for a client.
   * @throws GuestfsError if it cannot be made; nothing was sent then
   */
  async call(client: string, path: string, metadata: Metadata, deadline: number): Promise<PeerCall> {
    if (this.options.hasIdentity) await this.#requireProxy();
    try {
      return await this.#link.call(client, path, metadata, { deadline, connectBy: Date.now() + CONNECT_MS });
    } catch (error) {
      if (!(error instanceof GuestfsError)) throw this.unreachable(error);
      // Its text is about replicas.
      throw limitExceeded('this client has too many calls in flight, or has cancelled too many', {
        limit: 'forwarded-calls',
        maximum: Number(error.details.metadata?.['maximum']),
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
  }

  /** The error for a server that cannot be reached; why not is for the log only. */
  unreachable(error: unknown): GuestfsError {
    this.options.logger.warn('the server cannot be reached', { server: this.options.address, err: error });
    return new GuestfsError('OWNER_UNREACHABLE', 'the gateway cannot reach the server; the call was not made', {
      retryAfterMs: RETRY_AFTER_MS,
    });
  }

  /** Notes the end of a connection with a call on it. */
  cutOff({ details }: StatusObject): void {
    // It may be another server that takes its place.
    this.#known = undefined;
    this.options.logger.warn('the connection to the server has ended', { server: this.options.address, details });
  }

  /**
   * Asks the server what it does with calls that name no client.
   * @throws Error if it does not answer
   */
  async anonymous(): Promise<Anonymous> {
    const { getServerInfo } = SessionServiceService;
    const call = { metadata: new Metadata(), deadline: Date.now() + ASK_MS };
    try {
      await this.#link.ask(undefined, getServerInfo, {}, call);
      return 'served';
    } catch (error) {
      const { code } = error as { readonly code?: status };
      if (code === status.UNAUTHENTICATED) return 'refused';
      // Whatever else the server says about the call, it has taken the gateway for the client.
      if (code === status.PERMISSION_DENIED) return 'served';
      throw error;
    }
  }

  /** Why calls would fail now; undefined: they are made. */
  async objection(): Promise<string | undefined> {
    try {
      const call = { metadata: new Metadata(), deadline: Date.now() + HEALTH_MS };
      const { answer: isServing } = await this.#link.ask(undefined, HEALTH, {}, call);
      if (!isServing) return 'the server is not serving';
    } catch {
      return 'the server does not answer';
    }
    try {
      if (this.options.hasIdentity) await this.#requireProxy();
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  close(): void {
    this.#link.close();
  }

  /**
   * Makes sure that the server does not take the gateway itself for its clients, who could then do what only the gateway
   * may.
   */
  async #requireProxy(): Promise<void> {
    const now = performance.now();
    if (this.#known === undefined || now > this.#known.until)
      this.#known = { anonymous: this.anonymous(), until: now + ANSWER_HOLDS_MS };
    let anonymous: Anonymous;
    try {
      anonymous = await this.#known.anonymous;
    } catch (error) {
      this.#known = undefined;
      throw this.unreachable(error);
    }
    if (anonymous === 'refused') return;
    this.options.logger.error(notAProxy(this.options.address));
    throw new GuestfsError(
      'UNAUTHENTICATED',
      'the server would take the gateway for its client, so no calls are made: see the log of the gateway',
    );
  }
}

/** What is wrong with a server that takes its gateway for a client. */
export function notAProxy(address: string): string {
  const own = socketPath(address) === undefined ? 'the certificate of the gateway' : 'the user of the gateway';
  return `the server at ${address} takes calls of the gateway as its own: start it with --xfcc-peers naming the identity of ${own}`;
}
