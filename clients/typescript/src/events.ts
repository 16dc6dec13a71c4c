/** The events of a session, as they arrive. */
import { once } from 'node:events';
import type { ClientReadableStream } from '@grpc/grpc-js';
import { EventServiceService, type EventType, type SubscribeResponse } from '../../../gen/proto/guestfs/v1/event.js';
import type { Calls } from './calls.js';
import { asRpcError } from './error.js';
import { rpcName } from './methods.js';
import type { CallOptions } from './options.js';

const RPC = rpcName(EventServiceService.subscribe);

/**
 * A subscription, to be iterated once. It ends with the session; leaving the loop cancels it. A slow reader loses
 * events; each event has the number of those lost before it. Heartbeats are events as well.
 */
export class EventStream implements AsyncIterable<SubscribeResponse>, AsyncDisposable {
  readonly #call: ClientReadableStream<SubscribeResponse>;
  readonly #signal: AbortSignal | undefined;

  private constructor(call: ClientReadableStream<SubscribeResponse>, signal: AbortSignal | undefined) {
    this.#call = call;
    this.#signal = signal;
  }

  /**
   * Subscribes in the session of the calls; resolves when the server has confirmed it.
   * @param types which events; empty: all
   * @throws GuestfsRpcError
   */
  static async open(calls: Calls, types: readonly EventType[], options: CallOptions): Promise<EventStream> {
    const call = calls.openStream(EventServiceService.subscribe, { types: [...types] }, options);
    try {
      await once(call, 'metadata');
    } catch (error) {
      throw asRpcError(RPC, error, { signal: options.signal });
    }
    // The iteration gets the error; cancelling the call afterwards must not end the process.
    call.on('error', () => undefined);
    return new EventStream(call, options.signal);
  }

  /** @throws GuestfsRpcError when the subscription fails, or is cancelled */
  async *[Symbol.asyncIterator](): AsyncGenerator<SubscribeResponse> {
    try {
      for await (const event of this.#call) yield event as SubscribeResponse;
    } catch (error) {
      throw asRpcError(RPC, error, { signal: this.#signal });
    } finally {
      this.cancel();
    }
  }

  /** Ends the subscription. A loop that waits for an event fails with CANCELLED. */
  cancel(): void {
    this.#call.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
  }
}
