/** Heartbeats on streams that can be silent for a long time. */
import type { AnswerStream } from './rpc.js';

/** Many proxies close streams after a minute without data. */
const HEARTBEAT_MS = 20_000;

export interface BeatingWriter<Message> {
  /** Like {@link AnswerStream.write}. */
  write(message: Message): Promise<void>;
  /** Stops the heartbeats. */
  stop(): void;
}

/** A stream that sends the message made by `heartbeat` whenever it has been silent for a while. */
export function beating<Message extends object>(
  answers: Pick<AnswerStream, 'write'>,
  heartbeat: () => Message,
): BeatingWriter<Message> {
  const beat = (): void => {
    answers.write(heartbeat()).catch(() => undefined); // the client has disconnected, which ends the stream elsewhere
  };
  const timer = setInterval(beat, HEARTBEAT_MS);
  return {
    write: async (message) => {
      timer.refresh();
      await answers.write(message);
    },
    stop: () => clearInterval(timer),
  };
}
