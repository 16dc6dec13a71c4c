/** Signs of life on streams that can be silent for long. */
import type { AnswerWriter } from './answerWriter.js';

/** Proxies cut streams that are silent for a minute. */
const HEARTBEAT_MS = 20_000;

export interface BeatingWriter<Message> {
  /** As {@link AnswerWriter.write}. */
  write(message: Message): Promise<void>;
  /** Sends no more heartbeats. */
  stop(): void;
}

/** A writer that sends what `heartbeat` makes whenever nothing else was sent for a while. */
export function beating<Message extends object>(
  writer: AnswerWriter,
  heartbeat: () => Message,
): BeatingWriter<Message> {
  const beat = (): void => {
    writer.write(heartbeat()).catch(() => undefined); // the client is gone, which ends the stream elsewhere
  };
  const timer = setInterval(beat, HEARTBEAT_MS);
  return {
    write: async (message) => {
      timer.refresh();
      await writer.write(message);
    },
    stop: () => clearInterval(timer),
  };
}
