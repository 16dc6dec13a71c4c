/** A session: calls that name it, its events, its log, and its end. */
import { Metadata, status } from '@grpc/grpc-js';
import { EventServiceService, type EventType } from '../../../gen/proto/guestfs/v1/event.js';
import {
  SessionServiceService,
  type RunningCall,
  type Session as SessionState,
} from '../../../gen/proto/guestfs/v1/session.js';
import { Calls } from './calls.js';
import type { Connections } from './connections.js';
import { clientError } from './error.js';
import { EventStream } from './events.js';
import { rpcName } from './methods.js';
import type { CallOptions } from './options.js';

/** The metadata key that names a call's session. */
export const SESSION_HEADER = 'guestfs-session';

function metadataOf(id: string): Metadata {
  const metadata = new Metadata();
  metadata.set(SESSION_HEADER, id);
  return metadata;
}

/**
 * A session of the service. Its calls ({@link Calls.call}, {@link Calls.upload}, {@link Calls.stream},
 * {@link Calls.download}) name it in their metadata.
 */
export class Session extends Calls implements AsyncDisposable {
  /** The session's ID. */
  readonly id: string;
  readonly #uncancelled: Calls;
  #ended: Promise<void> | undefined;
  #endAsked = false;
  #isOver = false;

  /**
   * @param connections those of the client
   * @param id the ID of a session that exists
   * @param signal aborting it cancels all calls of the session
   * @param header sent in the metadata, if it is not the ID: the value that CreateSession returned there, which a proxy
   *   can have changed
   */
  constructor(connections: Connections, id: string, signal?: AbortSignal, header: string = id) {
    super(connections, metadataOf(header), signal, metadataOf(id));
    this.id = id;
    this.#uncancelled = new Calls(connections, metadataOf(header), undefined, metadataOf(id));
  }

  protected override readonly subscribeEvents = (
    types: readonly EventType[],
    options: CallOptions,
  ): Promise<EventStream> => this.events(types, options);

  protected override requireOpen(rpc: string, action: string | undefined): void {
    super.requireOpen(rpc, action);
    if (!this.#isOver) return;
    const code = status.FAILED_PRECONDITION;
    throw clientError(rpc, 'SESSION_ENDED', `the session ${this.id} has been ended`, { code, action });
  }

  /**
   * Facts about the session: its state, how it was launched, and more.
   * @throws GuestfsRpcError
   */
  async describe(options?: CallOptions): Promise<SessionState> {
    const { session } = await this.call(SessionServiceService.getSession, { id: this.id }, options);
    if (session !== undefined) return session;
    const code = status.INTERNAL;
    throw clientError(rpcName(SessionServiceService.getSession), 'INCOMPLETE_ANSWER', 'no session', { code });
  }

  /**
   * The calls that wait or run in the session, with their request IDs.
   * @throws GuestfsRpcError
   */
  async calls(options?: CallOptions): Promise<readonly RunningCall[]> {
    return (await this.call(SessionServiceService.getSession, { id: this.id }, options)).calls;
  }

  /**
   * Ends a call that waits or runs in the session.
   * @returns what of it goes on in the daemon, which cannot be interrupted
   * @throws GuestfsRpcError
   */
  async cancelCall(requestId: string, options?: CallOptions): Promise<readonly RunningCall[]> {
    const request = { id: this.id, request_id: requestId };
    return (await this.call(SessionServiceService.cancelCall, request, options)).calls;
  }

  /**
   * The end of the appliance's log: the output of its console and its daemon.
   * @throws GuestfsRpcError
   */
  async log(options?: CallOptions): Promise<string> {
    return (await this.call(SessionServiceService.getLog, { id: this.id }, options)).log;
  }

  /**
   * Subscribes to the session's events; resolves when no later event can be missed.
   * @param types which events, such as `EventType.PROGRESS`; empty: all
   * @throws GuestfsRpcError
   */
  async events(types: readonly EventType[] = [], options: CallOptions = {}): Promise<EventStream> {
    const call = await this.acceptedStream(EventServiceService.subscribe, { types: [...types] }, options);
    return new EventStream(call, options.signal);
  }

  /**
   * Ends the session; resolves when the appliance has ended and the images are free. Only the signal in `options`
   * cancels it: a session can be ended even after the signal of its client has aborted. Further calls do nothing,
   * unless the first one failed.
   * @throws GuestfsRpcError, also for data that could not be written
   */
  end(options?: CallOptions): Promise<void> {
    return this.#end(false, options);
  }

  /**
   * Ends the session at once, whatever its appliance is doing, also while {@link end} waits; what was not synced is
   * lost.
   * @throws GuestfsRpcError
   */
  async endByForce(options?: CallOptions): Promise<void> {
    const before = this.#ended;
    if (this.#isOver) return;
    this.#ended = undefined;
    await this.#end(true, options);
    await before?.catch(() => undefined);
  }

  #end(force: boolean, options?: CallOptions): Promise<void> {
    this.#endAsked = true;
    const request = { id: this.id, force };
    this.#ended ??= this.#uncancelled.call(SessionServiceService.deleteSession, request, options).then(
      () => {
        this.#isOver = true;
      },
      (error: unknown) => {
        this.#ended = undefined;
        throw error;
      },
    );
    return this.#ended;
  }

  /** {@link end}, for `await using`, unless it was called before: then the caller already has the result. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#endAsked) await this.end();
  }
}
