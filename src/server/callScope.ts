/** What is known of one gRPC call: when it is over, and who makes it. */
import type { Deadline, Metadata, ServerUnaryCall } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';

/** What all kinds of grpc-js server calls have in common. */
export interface ServerCall {
  readonly metadata: Metadata;
  readonly cancelled: boolean;
  getDeadline(): Deadline;
  getPeer(): string;
  getAuthContext(): ReturnType<ServerUnaryCall<unknown, unknown>['getAuthContext']>;
  once(event: 'cancelled', listener: () => void): unknown;
  off(event: 'cancelled', listener: () => void): unknown;
}

/** How long a call lasts. */
export interface CallScope {
  /** Aborts when the client is gone or has cancelled, or the deadline has passed. */
  readonly signal: AbortSignal;
  /** The call is answered: the signal is of no more use, and does not abort any more. */
  end(): void;
}

/**
 * The scope of a call. grpc-js says "cancelled" of calls that are answered, too: without an
 * end each would make an error, with its stack, for nobody.
 */
export function scopeOf(call: ServerCall): CallScope {
  const controller = new AbortController();
  const abort = (): void => {
    const deadline = Number(call.getDeadline());
    controller.abort(
      deadline <= Date.now()
        ? new GuestfsError('DEADLINE_EXCEEDED', 'the deadline of the call has passed')
        : new GuestfsError('CANCELLED', 'the client cancelled the call, or is gone'),
    );
  };
  if (call.cancelled) abort();
  call.once('cancelled', abort);
  return { signal: controller.signal, end: () => void call.off('cancelled', abort) };
}

/**
 * Identity of the client: the first URI of its certificate's subject alternative names (a
 * SPIFFE ID in a mesh), else the certificate's common name, else the certificate itself;
 * undefined without a certificate.
 */
export function identityOf(call: ServerCall): string | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  if (certificate === undefined) return undefined;
  const uri = /(?:^|, )URI:([^,]+)/.exec(certificate.subjectaltname ?? '')?.[1];
  const name = certificate.subject.CN as string | readonly string[] | undefined;
  // Sessions of nobody are everybody's: a certificate without a name is not nobody.
  return uri ?? (typeof name === 'string' ? name : name?.[0]) ?? `sha256:${certificate.fingerprint256}`;
}
