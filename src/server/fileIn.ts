/** Reads the messages of a client stream: arguments first, then chunks. */
import { badArgument, GuestfsError } from '../common/errors.js';
import { Undecodable } from './decoding.js';
import type { FileArguments, FileMessage } from './fileMessages.js';
import type { HeldMessage } from './requestFlow.js';
import { countUpload } from './transferMetrics.js';

/** Largest chunk from a client, bytes. */
export const CHUNK_LIMIT = 1024 * 1024;

/**
 * The error for a chunk that is larger than allowed.
 * @param size bytes; undefined if unknown
 */
export function chunkTooLarge(size: number | undefined): GuestfsError {
  return new GuestfsError(
    'CHUNK_TOO_LARGE',
    `a chunk of ${size ?? 'too many'} bytes; at most ${CHUNK_LIMIT} bytes are allowed: send more and smaller chunks`,
    {
      metadata: { limit: String(CHUNK_LIMIT) },
    },
  );
}

type Messages = AsyncIterator<HeldMessage<FileMessage | Undecodable>>;

/** The payload of the next message and its release; undefined at the end of the stream. */
async function nextPayload(
  messages: Messages,
): Promise<{ payload: NonNullable<FileMessage['payload']>; release: () => void } | undefined> {
  const next = await messages.next();
  if (next.done) return undefined;
  const { message, release } = next.value;
  if (message instanceof Undecodable) throw message.error;
  if (message.payload === undefined) throw badArgument('payload', 'every message sets either arguments or chunk');
  return { payload: message.payload, release };
}

/**
 * The arguments, which the first message must set.
 * @throws GuestfsError BAD_ARGUMENT if it does not
 */
export async function readArguments(messages: Messages, signal: AbortSignal): Promise<FileArguments> {
  const gone = new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  gone.catch(() => undefined);
  const first = await Promise.race([nextPayload(messages), gone]);
  if (first === undefined) throw badArgument('payload', 'the stream ended without a message that sets arguments');
  if (first.payload.$case !== 'arguments')
    throw badArgument('payload', 'the first message must set arguments, not chunk');
  first.release();
  return first.payload.value;
}

/** The chunks that follow; the message of a chunk is released when the next one is requested. */
export async function* fileChunks(messages: Messages): AsyncGenerator<Buffer> {
  for (;;) {
    const next = await nextPayload(messages);
    if (next === undefined) return;
    if (next.payload.$case === 'arguments')
      throw badArgument('payload', 'arguments can be set only once, in the first message');
    if (next.payload.value.length > CHUNK_LIMIT) throw chunkTooLarge(next.payload.value.length);
    countUpload(next.payload.value);
    yield next.payload.value;
    next.release();
  }
}
