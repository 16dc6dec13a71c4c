/** Signs of life on streams that can be silent for long. */
import type { AnswerStream } from './rpc.js';

/** Proxies cut streams that are silent for a minute. */
const HEARTBEAT_MS = 20_000;

export interface BeatingWriter<Message> {
  /** As {@link AnswerStream.write}. */
  write(message: Message): Promise<void>;
  /** Sends no more heartbeats. */
  stop(): void;
}

/** A stream that sends what `heartbeat` makes whenever nothing else was sent for a while. */
export function beating<Message extends object>(
  answers: Pick<AnswerStream, 'write'>,
  heartbeat: () => Message,
): BeatingWriter<Message> {
  const beat = (): void => {
    answers.write(heartbeat()).catch(() => undefined); // the client is gone, which ends the stream elsewhere
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
