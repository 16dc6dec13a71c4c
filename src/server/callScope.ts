/** The lifetime of a gRPC call, and the identity of its client. */
import type { Deadline, Metadata, ServerUnaryCall } from '@grpc/grpc-js';
import { GuestfsError } from '../common/errors.js';
import { abortController } from '../common/waiting.js';

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

/** The lifetime of a call. */
export interface CallScope {
  /** Aborts when the client cancels or disconnects, or when the deadline passes. */
  readonly signal: AbortSignal;
  /** To be called once the call is answered: the signal no longer aborts. */
  end(): void;
}

/**
 * The scope of a call. grpc-js emits "cancelled" for answered calls as well; without `end`, each would create an unused
 * error with a stack trace.
 */
export function scopeOf(call: ServerCall): CallScope {
  const controller = abortController();
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
  // Sessions without an identity are open to everyone, so a certificate without a name must still yield one.
  return uri ?? (typeof name === 'string' ? name : name?.[0]) ?? `sha256:${certificate.fingerprint256}`;
}
