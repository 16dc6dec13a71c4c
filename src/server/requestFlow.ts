/**
 * Flow control of client streams, and their end.
 *
 * The stream that grpc-js gives to a handler reads 16 messages ahead, whatever their size.
 * This interceptor passes on one message at a time: the next is read from the network once
 * the handler has released the previous one.
 *
 * grpc-js reports a half-close whenever a stream ends, even if the client aborted it or it ends
 * inside a message. Here a half-close is passed on only for a complete stream.
 */
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
import { Undecodable } from './decoding.js';
import { http2StreamOf, isInsideMessage, type InterceptedCall } from './grpcInternals.js';
import { isWhole } from './requestEnd.js';
import { readerOf, type RequestReader } from './requestReader.js';

/** A message of a client stream; the next one is not read until it is released. */
export class HeldMessage<Message> {
  constructor(
    readonly message: Message,
    readonly release: () => void,
  ) {}
}

/** The error for a stream that the client half-closes inside a message. */
function incomplete(): HeldMessage<Undecodable> {
  const error = new GuestfsError(
    'UPLOAD_INCOMPLETE',
    'the request stream ended in the middle of a message; send the file again',
  );
  return new HeldMessage(new Undecodable(error), () => undefined);
}

type Listener = Parameters<InterceptedCall['start']>[0];

/** A call whose reads wait for the release of the previous message. */
class OneAtATime extends ServerInterceptingCall {
  readonly #call: InterceptedCall;
  readonly #reader: RequestReader | undefined;
  #listener: Listener | undefined;
  #held = false;
  #wanted = false;

  constructor(call: InterceptedCall) {
    super(call, {
      start: (next) => {
        next({
          onReceiveMessage: (message: unknown, passOn) => {
            this.#reader?.dataCame();
            this.#held = true;
            passOn(new HeldMessage(message, () => this.#release()));
          },
          onReceiveHalfClose: (passOn) => {
            this.#reader?.dataCame();
            void this.#end(passOn);
          },
        });
      },
    });
    this.#call = call;
    this.#reader = readerOf(http2StreamOf(call));
  }

  override start(listener: Listener): void {
    this.#listener = listener;
    super.start(listener);
  }

  override startRead(): void {
    if (this.#held) this.#wanted = true;
    else this.#read();
  }

  #release(): void {
    this.#held = false;
    this.#reader?.used();
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#read();
  }

  #read(): void {
    this.#reader?.awaitData();
    super.startRead();
  }

  /** The end of an aborted call is not passed on: grpc-js reports the cancellation. */
  async #end(passOn: () => void): Promise<void> {
    if (!(await isWhole(http2StreamOf(this.#call)))) return;
    if (isInsideMessage(this.#call)) this.#listener?.onReceiveMessage(incomplete());
    else passOn();
  }
}

/** Other calls are passed on unchanged, which saves a layer for each of their events. */
export const oneMessageAtATime: ServerInterceptor = (method, call) =>
  method.requestStream && !method.responseStream ? new OneAtATime(call) : (call as ServerInterceptingCall);
