/**
 * Passes on a call to the replica that has its session: messages as they came, in both directions and no faster than
 * the slower side takes them, with metadata, deadline, cancellation, trailers and status.
 */
import { status, type Metadata, type StatusObject } from '@grpc/grpc-js';
import { GuestfsError } from '../../common/errors.js';
import { onAbort, reasonOf } from '../../common/waiting.js';
import { reasonIn } from '../errorDetails.js';
import type { Transport } from '../transports.js';
import { FORWARDED_HEADER } from './forwarded.js';
import type { PeerCall } from './peerLink.js';
import { ownerUnreachable } from './peers.js';

/**
 * Headers of a single connection or message, which are made anew for the next; and the load of a replica, which a
 * client would take for that of the one that it has called.
 */
const OF_ONE_HOP =
  /^(?:connection|endpoint-load-metrics-bin|content-length|content-type|date|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|user-agent|x-forwarded-client-cert|grpc-(?!status-details-bin$|trace-bin$|tags-bin$).*)$/;

/** The metadata that is passed on. */
function withoutHop(metadata: Metadata): Metadata {
  const passed = metadata.clone();
  for (const key of Object.keys(passed.getMap())) if (OF_ONE_HOP.test(key)) passed.remove(key);
  return passed;
}

/** The metadata of a call, with what this replica says about it. */
export function forwardedMetadata(metadata: Metadata, statement: Buffer): Metadata {
  const passed = withoutHop(metadata);
  passed.set(FORWARDED_HEADER, statement);
  return passed;
}

/** Statuses that grpc-js makes up when a connection ends; without our details, they are not the other replica's. */
const MADE_UP: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.INTERNAL, status.CANCELLED, status.UNKNOWN]);

export interface Passed {
  readonly transport: Transport;
  /** Encodes a message that was not kept as it came. */
  readonly encode: (message: object) => Buffer;
  /** Aborts when the client has disconnected, or the deadline has passed. */
  readonly signal: AbortSignal;
  /** Makes the call to the other replica. */
  readonly open: () => Promise<PeerCall>;
  /** The other replica. */
  readonly replica: string;
}

/**
 * Passes on a call until it has ended.
 * @returns the status that the client got
 * @throws GuestfsError if there is none from the other replica
 */
export async function passOn({ transport, encode, signal, open, replica }: Passed): Promise<StatusObject> {
  const call = await open();
  const passage = transport.passage(encode);
  const ended = new Promise<StatusObject>((resolve) => call.once('status', resolve));
  call.on('error', () => undefined); // it is in the status as well
  const stopListening = onAbort(signal, () => call.cancel());
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure ??= error;
    call.cancel();
  };
  try {
    call.once('metadata', (metadata: Metadata) => passage.opened(withoutHop(metadata)));
    const received = receive(call, (message) => passage.write(message)).catch(fail);
    send(call, passage.requests, ended).catch(fail);
    const end = await ended;
    await received;
    if (signal.aborted) throw reasonOf(signal);
    if (failure !== undefined) throw failure;
    const trailers = withoutHop(end.metadata);
    if (end.code === status.OK) {
      await passage.end(trailers);
      return end;
    }
    if (MADE_UP.has(end.code) && reasonIn(end.metadata) === undefined) throw cutOff(replica, end);
    transport.fail({ ...end, metadata: trailers });
    return end;
  } finally {
    stopListening();
  }
}

/** grpc-js's text for REFUSED_STREAM, which HTTP/2 reserves for calls that were not processed (RFC 9113, 8.7). */
const NOT_PROCESSED = 'Stream refused by server';

function cutOff(replica: string, { details }: StatusObject): GuestfsError {
  if (details === NOT_PROCESSED) return ownerUnreachable(replica, 'it closes the connection');
  return new GuestfsError(
    'OUTCOME_UNKNOWN',
    `the connection to replica ${replica}, which has the session, ended before the call was answered: ${details}; call it again with the same guestfs-request-id to find out how it ended`,
    { metadata: { replica, outcome: 'unknown' } },
  );
}

/** Sends the request: the next message is asked for when the last one has been handed to the connection. */
async function send(call: PeerCall, messages: AsyncIterable<Buffer>, ended: Promise<unknown>): Promise<void> {
  let over = false;
  const end = ended.then(() => {
    over = true;
  });
  for await (const message of messages) {
    if (over) return;
    await Promise.race([new Promise<unknown>((resolve) => call.write(message, resolve)), end]);
  }
  if (!over) call.end();
}

/** Passes on the messages of the answer, each when there is room for it; resolves after the last one. */
async function receive(call: PeerCall, write: (message: Buffer) => Promise<void>): Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  await new Promise<void>((resolve, reject) => {
    call.on('data', (message: Buffer) => {
      call.pause();
      writing = write(message);
      writing.then(() => call.resume(), reject);
    });
    // Not an iteration of the stream: that would drop the messages that came before an error.
    call.once('end', resolve);
  });
  await writing;
}
