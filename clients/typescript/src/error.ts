/** The one error of the client: an RPC that failed, with its status and the reason. */
import { status, type Metadata, type ServiceError } from '@grpc/grpc-js';
import { errorInfoOf, type ErrorInfo } from './errorInfo.js';

/** Reasons that are errnos: none of the service's own starts with E. */
const ERRNO = /^E[A-Z0-9]+$/;

/** An RPC that failed. */
export class GuestfsRpcError extends Error {
  override readonly name = 'GuestfsRpcError';
  /** The gRPC status. */
  readonly code: status;
  /** The message of the daemon or the service. */
  readonly details: string;
  /** The service's details of the error; undefined if it did not come from the service, such as a lost connection. */
  readonly info: ErrorInfo | undefined;
  /** The trailing metadata of the RPC. */
  readonly trailers: Metadata;
  /** The request ID of the call: repeated with it, a call that changes something is made once in all. */
  readonly requestId: string | undefined;

  /**
   * @param rpc the RPC's name, such as `FileService/Cat`
   * @param error what grpc-js reports
   * @param options the cause, by default `error`; the request ID
   */
  constructor(
    readonly rpc: string,
    error: Pick<ServiceError, 'code' | 'details' | 'metadata'>,
    { requestId, cause = error }: { readonly requestId?: string | undefined; readonly cause?: unknown } = {},
  ) {
    const info = errorInfoOf(error.metadata);
    const reason = info === undefined || info.reason === '' ? '' : ` (${info.reason})`;
    super(`${rpc}: ${status[error.code]}${reason}: ${error.details}`, { cause });
    this.code = error.code;
    this.details = error.details;
    this.info = info;
    this.trailers = error.metadata;
    this.requestId = requestId;
  }

  /** An errno's name, such as `ENOENT`, or one of the service's own reasons, such as `IMAGE_LOCKED`; empty if there is none. */
  get reason(): string {
    return this.info?.reason ?? '';
  }

  /** The errno's name where the reason is one, such as `ENOENT`. */
  get errno(): string | undefined {
    return ERRNO.test(this.reason) ? this.reason : undefined;
  }

  /** The libguestfs action, or the RPC of a session, that failed; undefined if the error did not come from the service. */
  get action(): string | undefined {
    return this.metadata['action'];
  }

  /** Further details of the error, under the names in docs/errors.md. */
  get metadata(): Readonly<Record<string, string>> {
    return this.info?.metadata ?? {};
  }

  /** Names of the invalid fields of the request. */
  get fields(): readonly string[] {
    return this.info?.fields ?? [];
  }
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && 'code' in thrown && 'details' in thrown && 'metadata' in thrown;
}

/** What is known about a failed call beside its error. */
export interface FailedCall {
  /** Its signal; if it was aborted, its reason is the error's cause. */
  readonly signal?: AbortSignal | undefined;
  readonly requestId?: string | undefined;
}

/** What a failed call rejects with: an error of grpc-js as a {@link GuestfsRpcError}, anything else unchanged. */
export function asRpcError(rpc: string, thrown: unknown, { signal, requestId }: FailedCall = {}): unknown {
  if (!isServiceError(thrown)) return thrown;
  const aborted = signal?.aborted === true && thrown.code === status.CANCELLED;
  return new GuestfsRpcError(rpc, thrown, { requestId, ...(aborted ? { cause: signal.reason } : {}) });
}
