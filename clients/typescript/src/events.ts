/** The events of a session, as they arrive. */
import type { ClientReadableStream } from '@grpc/grpc-js';
import { EventServiceService, type SubscribeResponse } from '../../../gen/proto/guestfs/v1/event.js';
import { asRpcError } from './error.js';
import { rpcName } from './methods.js';

const RPC = rpcName(EventServiceService.subscribe);

/**
 * A subscription, to be iterated once. It ends with the session; leaving the loop cancels it. A slow reader loses
 * events; each event has the number of those lost before it. Heartbeats are events as well.
 */
export class EventStream implements AsyncIterable<SubscribeResponse>, AsyncDisposable {
  readonly #call: ClientReadableStream<SubscribeResponse>;
  readonly #signal: AbortSignal | undefined;

  /**
   * @param call the subscription, which the server has confirmed
   * @param signal that cancels it
   */
  constructor(call: ClientReadableStream<SubscribeResponse>, signal: AbortSignal | undefined) {
    this.#call = call;
    this.#signal = signal;
    // The iteration gets the error; cancelling the call afterwards must not end the process.
    call.on('error', () => undefined);
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
