/** Makes a call that has a request ID, unless it was made before: then its client gets the answer to that. */
import type { StatusObject } from '@grpc/grpc-js';
import type { CallRules } from '../../actions/callRules.js';
import { GuestfsError } from '../../common/errors.js';
import { inheritSpan } from '../../common/spans.js';
import type { Session } from '../../session/session.js';
import type { EncodeAnswer } from '../answerEncoding.js';
import type { AnswerStream, RpcKind } from '../rpc.js';
import type { Transport } from '../transports.js';
import { Ledger, type IdOwner } from './ledger.js';
import type { KnownCall, NamedCall } from './namedCall.js';
import { KeptResponse, replay, type Outcome } from './outcome.js';

/** To whom the request ID of a call belongs. */
export function ownerOf({ once }: CallRules, session: Session | undefined, identity: string | undefined): IdOwner {
  return once === 'identity' || session === undefined ? ownedBy(identity) : session;
}

/** The owner of the request IDs of an identity. */
export function ownedBy(identity: string | undefined): IdOwner {
  return `identity ${identity ?? ''}`;
}

/** One attempt at a call. */
export interface Attempt {
  readonly ledger: Ledger;
  readonly owner: IdOwner;
  readonly requestId: string;
  readonly known: KnownCall;
  readonly kind: RpcKind;
  /** The client that limits count against. */
  readonly client: string;
  readonly transport: Transport;
  /** Aborts when the client of this attempt has gone. */
  readonly signal: AbortSignal;
  readonly encode: EncodeAnswer;
  /** Makes the call. */
  readonly run: (call: NamedCall, answers: AnswerStream, chunks: AsyncIterable<Buffer>) => Promise<object>;
  readonly toStatus: (thrown: unknown) => StatusObject;
  /** Called if the call was made before. */
  readonly onRepeated: () => void;
}

/**
 * Makes the call or waits for it, and answers.
 * @throws GuestfsError REQUEST_ID_REUSED, ANSWER_NOT_KEPT; why the call, or this attempt, was given up
 */
export async function makeOnce(attempt: Attempt): Promise<void> {
  const { ledger, owner, requestId, known, kind, transport, signal } = attempt;
  for (;;) {
    const before = ledger.find(owner, requestId);
    if (before === undefined) return answerFirst(attempt);
    Ledger.requireSame(requestId, before, known);
    attempt.onRepeated();
    const outcome = 'signal' in before ? await before.outcome(signal) : before.outcome;
    // What was sent with this attempt is still there to be used.
    if (outcome.kind === 'failure' && outcome.runsAgain && kind === 'clientStream') continue;
    return replay(outcome, known.rpc, transport);
  }
}

async function answerFirst(attempt: Attempt): Promise<void> {
  const { transport, signal, kind } = attempt;
  const response = new KeptResponse();
  const outcome = await start(attempt, response).outcome(signal);
  if (outcome.kind === 'failure') {
    transport.fail(outcome.status);
    return;
  }
  if (response.opening !== undefined) transport.answers.opened(response.opening);
  if (response.trailers !== undefined) transport.answers.endWith(response.trailers);
  await transport.succeed(kind === 'serverStream' ? {} : (outcome.answer as object));
}

function start(attempt: Attempt, response: KeptResponse): NamedCall {
  const { ledger, owner, requestId, known, kind, client, transport, encode, run } = attempt;
  const call = ledger.begin(owner, requestId, known, kind !== 'unary');
  call.onBehalfOf(client);
  // The trace of a call has the work in it, even if the call is made for other attempts, too.
  inheritSpan(call.signal, [attempt.signal]);
  const work = async (): Promise<Outcome> => {
    try {
      // A stream goes to the client that began it, and to no other.
      if (kind === 'serverStream') {
        await run(call, transport.answers, transport.chunks);
        return { kind: 'success', answer: undefined, opening: undefined };
      }
      const chunks = kind === 'clientStream' ? call.taking(transport.chunks) : transport.chunks;
      const answer = encode(await run(call, response, chunks));
      return { kind: 'success', answer, opening: response.opening };
    } catch (thrown) {
      const error = cutShort(call, kind, thrown);
      return { kind: 'failure', status: attempt.toStatus(error), runsAgain: mayRunAgain(call, kind, error) };
    }
  };
  void work().then((outcome) => ledger.end(owner, call, outcome));
  return call;
}

/** Whether a failed call is made again when it is repeated. */
function mayRunAgain(call: NamedCall, kind: RpcKind, thrown: unknown): boolean {
  const { reason, details } = GuestfsError.from(thrown);
  if (!call.hasBegun) return true;
  if (details.outcomeUnknown === true || UNKNOWN.has(reason)) return false;
  // A file that was not taken is sent again.
  return details.retryAfterMs !== undefined || kind === 'clientStream';
}

const UNKNOWN: ReadonlySet<string> = new Set(['OUTCOME_UNKNOWN', 'UNRESPONSIVE', 'PROTOCOL_ERROR']);

/** The error of a call that was given up in the middle of its work. */
function cutShort(call: NamedCall, kind: RpcKind, thrown: unknown): unknown {
  if (!call.signal.aborted || !call.hasBegun || kind === 'clientStream') return thrown;
  const { reason, message, details } = GuestfsError.from(thrown);
  if (details.retryAfterMs !== undefined) return thrown;
  if (reason !== 'CANCELLED' && reason !== 'DEADLINE_EXCEEDED') return thrown;
  return new GuestfsError(
    'OUTCOME_UNKNOWN',
    `the call was given up when it had begun (${message}): what it has changed until then is not undone`,
  );
}
