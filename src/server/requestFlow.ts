/**
 * Flow control of client streams, and their end.
 *
 * The stream that grpc-js gives to a handler reads 16 messages ahead, whatever their size.
 * This interceptor lets one message at a time through: the next is read from the network when
 * the handler has released the one before.
 *
 * A client that gives up in the middle can look like one that has sent all: Node ends a stream
 * that is reset before it says that it was, and clients made with Node really end the stream
 * just before they reset it. So an end is believed only when no reset came shortly after it.
 */
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';

/** A message of a client stream; until it is released no other is read. */
export class HeldMessage<Message> {
  constructor(
    readonly message: Message,
    readonly release: () => void,
  ) {}
}

/** A reset that belongs to an end comes with it, or in the next packet. */
const RESET_FOLLOWS_MS = 5;

/** A call whose reads wait for the release of the message before. */
class OneAtATime extends ServerInterceptingCall {
  #held = false;
  #wanted = false;
  #cancelled = false;

  constructor(call: ConstructorParameters<typeof ServerInterceptingCall>[0]) {
    super(call, {
      start: (next) => {
        next({
          onReceiveMessage: (message: unknown, passOn) => {
            this.#held = true;
            passOn(new HeldMessage(message, () => this.#release()));
          },
          onReceiveHalfClose: (passOn) => {
            setTimeout(() => {
              if (!this.#cancelled) passOn();
            }, RESET_FOLLOWS_MS);
          },
          onCancel: () => {
            this.#cancelled = true;
          },
        });
      },
    });
  }

  override startRead(): void {
    if (this.#held) this.#wanted = true;
    else super.startRead();
  }

  #release(): void {
    this.#held = false;
    if (!this.#wanted) return;
    this.#wanted = false;
    super.startRead();
  }
}

/** Other calls are passed on as they are: one layer less for each of their events to go through. */
export const oneMessageAtATime: ServerInterceptor = (method, call) =>
  method.requestStream && !method.responseStream ? new OneAtATime(call) : (call as ServerInterceptingCall);
