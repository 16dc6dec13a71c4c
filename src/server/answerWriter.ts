/** Writes the messages of a server stream with backpressure. */
import type { ServerWritableStream } from '@grpc/grpc-js';

export interface AnswerWriter {
  /** Resolves when there is room for another message; rejects when the client has disconnected. */
  write(message: object): Promise<void>;
  /** Resolves when all messages have been handed to the transport. */
  flushed(): Promise<void>;
}

/** @param signal aborts when the client has disconnected: grpc-js then never completes a write */
export function answerWriter(call: ServerWritableStream<unknown, object>, signal: AbortSignal): AnswerWriter {
  // One message is in flight while the next is prepared; more would only be buffered here.
  let before: Promise<void> = Promise.resolve();
  const send = (message: object): Promise<void> =>
    new Promise((resolve, reject) => {
      const gone = (): void => reject(signal.reason as Error);
      if (signal.aborted) {
        gone();
        return;
      }
      signal.addEventListener('abort', gone, { once: true });
      call.write(message, () => {
        signal.removeEventListener('abort', gone);
        resolve();
      });
    });
  return {
    write: async (message) => {
      await before;
      before = send(message);
      before.catch(() => undefined); // reported by the next write, or by flushed
    },
    flushed: () => before,
  };
}
