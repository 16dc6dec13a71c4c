/**
 * Passes on a call to the server: its messages in both directions, no faster than the slower side takes them, with
 * metadata, deadline, cancellation, trailers and status.
 */
import { ConnectError } from '@connectrpc/connect';
import { status, type Metadata, type StatusObject } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
import { onAbort, reasonOf } from '../common/waiting.js';
import { reasonIn } from '../server/errorDetails.js';
import type { PeerCall } from '../server/replicas/peerLink.js';
import { errorOf } from './connectErrors.js';

/** A call as its client made it. */
export interface ClientCall {
  /** Encoded requests. */
  readonly requests: AsyncIterable<Uint8Array>;
  /** Aborts when the client has gone, or the deadline has passed. */
  readonly signal: AbortSignal;
  /** Called with the initial metadata, before the first message. */
  readonly opened: (metadata: Metadata) => void;
  /** Called with the trailers of a call that has succeeded. */
  readonly closed: (trailers: Metadata) => void;
}

/** Statuses that grpc-js makes up when a connection ends; without our details, they are not the server's. */
const MADE_UP: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.INTERNAL, status.CANCELLED, status.UNKNOWN]);

/**
 * The encoded answers of a call.
 * @param cutOff told of the end of a connection
 * @throws ConnectError with the status, unless it is OK
 */
export async function* passOn(
  call: PeerCall,
  { requests, signal, opened, closed }: ClientCall,
  cutOff: (end: StatusObject) => void,
): AsyncGenerator<Buffer> {
  const received: Buffer[] = [];
  let wake = (): void => undefined;
  let end: StatusObject | undefined;
  let allReceived = false;
  let failure: unknown;
  call.on('error', () => undefined); // it is in the status as well
  call.once('metadata', opened);
  call.once('status', (ended: StatusObject) => {
    end = ended;
    wake();
  });
  call.on('data', (message: Buffer) => {
    call.pause();
    received.push(message);
    wake();
  });
  // Not an iteration of the stream: that would drop the messages that came before an error.
  call.once('end', () => {
    allReceived = true;
    wake();
  });
  const stopListening = onAbort(signal, () => call.cancel());
  send(call, requests, () => end !== undefined).catch((error: unknown) => {
    failure ??= error;
    call.cancel();
  });
  try {
    for (;;) {
      const message = received.shift();
      if (message !== undefined) {
        yield message;
        if (received.length === 0) call.resume();
      } else if (end !== undefined && allReceived) {
        break;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    if (failure !== undefined) throw failure;
    if (signal.aborted) throw reasonOf(signal);
    if (end.code === status.OK) return closed(end.metadata);
    if (!MADE_UP.has(end.code) || reasonIn(end.metadata) !== undefined) throw errorOf(end);
    cutOff(end);
    throw outcomeUnknown();
  } finally {
    stopListening();
    if (end === undefined) call.cancel();
  }
}

function outcomeUnknown(): GuestfsError {
  return new GuestfsError(
    'OUTCOME_UNKNOWN',
    'the connection to the server ended before the call was answered; call it again with the same guestfs-request-id to find out how it ended',
    { metadata: { outcome: 'unknown' } },
  );
}

/** Sends the requests: the next one is asked for when the last one has been handed to the connection. */
async function send(call: PeerCall, requests: AsyncIterable<Uint8Array>, isOver: () => boolean): Promise<void> {
  const over = new Promise<void>((resolve) => call.once('status', () => resolve()));
  for await (const request of requests) {
    if (isOver()) return;
    const bytes = Buffer.from(request.buffer, request.byteOffset, request.byteLength);
    await Promise.race([new Promise<unknown>((resolve) => call.write(bytes, resolve)), over]);
  }
  if (!isOver()) call.end();
}

/** The only answer of a call. */
export async function onlyOne(answers: AsyncIterable<Buffer>): Promise<Buffer> {
  let only: Buffer | undefined;
  for await (const answer of answers) only = answer;
  if (only === undefined) throw new ConnectError('the server has sent no answer');
  return only;
}
