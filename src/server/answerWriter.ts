/** Writes the messages of a server stream no faster than the client takes them. */
import type { ServerWritableStream } from '@grpc/grpc-js';

export interface AnswerWriter {
  /** Resolves when there is room for another message; rejects when the client is gone. */
  write(message: object): Promise<void>;
  /** Resolves when all messages are on their way. */
  flushed(): Promise<void>;
}

/** @param signal aborts when the client is gone: grpc-js then never answers a write */
export function answerWriter(call: ServerWritableStream<unknown, object>, signal: AbortSignal): AnswerWriter {
  // One message is on its way while the next is made: more would only be held here.
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
      before.catch(() => undefined); // told to the next write, or to flushed
    },
    flushed: () => before,
  };
}
