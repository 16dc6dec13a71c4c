/** How a call with a request ID has ended, in a form that can be sent to each client that asks. */
import type { Metadata, StatusObject } from '@grpc/grpc-js';
import { GuestfsError } from '../../common/errors.js';
import { EncodedAnswer } from '../decoding.js';
import type { AnswerStream } from '../rpc.js';
import type { Transport } from '../transports.js';

/** The largest answer that is kept, bytes: that of most calls that change something is empty. */
export const KEPT_ANSWER_LIMIT = 16 * 1024;

/** What an entry takes beside its answer, bytes: the ID, the fingerprint, and the objects around them. */
const ENTRY_BYTES = 320;
/** The same of a failure, whose status has texts. */
const STATUS_BYTES = 1024;

/** The call succeeded. */
export interface Success {
  readonly kind: 'success';
  /** Undefined: it was a stream, or is not kept. */
  readonly answer: object | undefined;
  readonly opening: Metadata | undefined;
}

/** The call failed. */
export interface Failure {
  readonly kind: 'failure';
  readonly status: StatusObject;
  /** Nothing was changed, or a repeated call is to run again for another reason. */
  readonly runsAgain: boolean;
}

export type Outcome = Success | Failure;

function metadataBytes(metadata: Metadata | undefined): number {
  let sum = 0;
  for (const [key, value] of Object.entries(metadata?.getMap() ?? {})) sum += key.length + value.length;
  return sum;
}

/** What is remembered of an outcome: without an answer that is too large. */
export function kept(outcome: Outcome): { readonly outcome: Outcome; readonly bytes: number } {
  if (outcome.kind === 'failure')
    return { outcome, bytes: ENTRY_BYTES + STATUS_BYTES + metadataBytes(outcome.status.metadata) };
  const { answer, opening } = outcome;
  const size = answer instanceof EncodedAnswer ? answer.bytes.length : Infinity;
  const bytes = ENTRY_BYTES + metadataBytes(opening);
  if (size > KEPT_ANSWER_LIMIT) return { outcome: { ...outcome, answer: undefined }, bytes };
  // A copy of its own: the bytes can be a part of a larger buffer.
  const own = size === 0 ? EMPTY : new EncodedAnswer(Buffer.from((answer as EncodedAnswer).bytes));
  return { outcome: { ...outcome, answer: own }, bytes: bytes + size };
}

const EMPTY = new EncodedAnswer(Buffer.alloc(0));

/** The response of a call that outlives its client: its metadata is kept until there is somebody to answer. */
export class KeptResponse implements AnswerStream {
  opening: Metadata | undefined;
  trailers: Metadata | undefined;

  opened(metadata?: Metadata): void {
    this.opening = metadata;
  }

  async write(): Promise<void> {
    throw new Error('the RPC has a single answer, not a stream');
  }

  endWith(trailers: Metadata): void {
    this.trailers = trailers;
  }
}

/**
 * Answers a repeated call.
 * @throws GuestfsError ANSWER_NOT_KEPT
 */
export async function replay(outcome: Outcome, name: string, transport: Transport): Promise<void> {
  if (outcome.kind === 'failure') {
    transport.fail(outcome.status);
    return;
  }
  if (outcome.answer === undefined)
    throw new GuestfsError(
      'ANSWER_NOT_KEPT',
      `${name} has succeeded, when it was called with this request ID before, and was not run again; its answer is no longer there: it was a stream, or had more than ${KEPT_ANSWER_LIMIT} bytes`,
      { metadata: { limit: String(KEPT_ANSWER_LIMIT), outcome: 'OK' } },
    );
  if (outcome.opening !== undefined) transport.answers.opened(outcome.opening.clone());
  await transport.succeed(outcome.answer);
}
