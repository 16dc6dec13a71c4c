/** The one error of the client: a call that failed, at the service, on the way or before it was sent. */
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { errorInfoOf, type ErrorInfo } from './errorInfo.js';

/** Reasons that are errnos: none of the service's own starts with E. */
const ERRNO = /^E[A-Z0-9]+$/;

/** Reasons that the client gives itself, where no service did. */
export type ClientReason =
  /** An argument or option has the wrong type, or does not exist; nothing was sent. The service has this reason as well. */
  | 'BAD_ARGUMENT'
  /** The session was ended through this object; nothing was sent. */
  | 'SESSION_ENDED'
  /** The client was closed; nothing was sent. */
  | 'CLIENT_CLOSED'
  /** The server is not there, or the connection was lost, or a proxy says so. */
  | 'UNREACHABLE'
  /** The server does not have this RPC: it is older or newer than this client, or another service. */
  | 'NOT_IN_SERVER'
  /** The server left out what the answer consists of. */
  | 'INCOMPLETE_ANSWER';

/** What is known about a failed call beside its error. */
export interface FailedCall {
  readonly requestId?: string | undefined;
  readonly reason?: ClientReason | undefined;
  /** libguestfs name of the action, if the RPC is one. */
  readonly action?: string | undefined;
  /** By default, the error itself. */
  readonly cause?: unknown;
}

/** A call that failed. */
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

  readonly #reason: ClientReason | undefined;
  readonly #action: string | undefined;

  /**
   * @param rpc the RPC's name, such as `FileService/Cat`
   * @param error what grpc-js reports
   * @param known what else is known
   */
  constructor(
    readonly rpc: string,
    error: Pick<ServiceError, 'code' | 'details' | 'metadata'>,
    { requestId, reason, action, cause = error }: FailedCall = {},
  ) {
    const info = errorInfoOf(error.metadata);
    const shown = info?.reason ?? reason ?? '';
    super(`${rpc}: ${status[error.code]}${shown === '' ? '' : ` (${shown})`}: ${error.details}`, { cause });
    this.code = error.code;
    this.details = error.details;
    this.info = info;
    this.trailers = error.metadata;
    this.requestId = requestId;
    this.#reason = reason;
    this.#action = action;
  }

  /**
   * An errno's name, such as `ENOENT`, or one of the service's own reasons, such as `IMAGE_LOCKED`, or of the
   * client's ({@link ClientReason}); empty if there is none.
   */
  get reason(): string {
    return this.info?.reason ?? this.#reason ?? '';
  }

  /** The errno's name where the reason is one, such as `ENOENT`. */
  get errno(): string | undefined {
    return ERRNO.test(this.reason) ? this.reason : undefined;
  }

  /** The libguestfs action, or the RPC of a session, that failed; undefined if neither the service nor the method names it. */
  get action(): string | undefined {
    return this.metadata['action'] ?? this.#action;
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

/** A call that the client itself does not make, or whose answer it does not accept. */
export function clientError(
  rpc: string,
  reason: ClientReason,
  details: string,
  { code = status.INVALID_ARGUMENT, ...known }: Omit<FailedCall, 'reason'> & { readonly code?: status } = {},
): GuestfsRpcError {
  return new GuestfsRpcError(rpc, { code, details, metadata: new Metadata() }, { ...known, reason });
}

/** Where a failed call was made, and with what. */
export interface MadeCall extends Pick<FailedCall, 'requestId' | 'action'> {
  /** Its signal; if it was aborted, its reason is the error's cause. */
  readonly signal?: AbortSignal | undefined;
  /** The server's address, if the client knows it. */
  readonly address?: string | undefined;
}

/** What a status that does not come from the service means. */
function ownReason({ code, metadata }: ServiceError): ClientReason | undefined {
  if (errorInfoOf(metadata) !== undefined) return undefined;
  if (code === status.UNAVAILABLE) return 'UNREACHABLE';
  return code === status.UNIMPLEMENTED ? 'NOT_IN_SERVER' : undefined;
}

const EXPLANATIONS: Partial<Record<ClientReason, string>> = {
  UNREACHABLE: 'cannot be reached, or the connection was lost',
  NOT_IN_SERVER: 'does not have this RPC: it is older or newer than this client, or not guestfs-grpc',
};

/** What a failed call rejects with: an error of grpc-js as a {@link GuestfsRpcError}, anything else unchanged. */
export function asRpcError(rpc: string, thrown: unknown, { signal, address, ...known }: MadeCall = {}): unknown {
  if (!isServiceError(thrown)) return thrown;
  const aborted = signal?.aborted === true && thrown.code === status.CANCELLED;
  const reason = ownReason(thrown);
  const explanation = reason && EXPLANATIONS[reason];
  const server = address === undefined ? 'the server' : `the server at ${address}`;
  const { code, metadata } = thrown;
  const details = explanation === undefined ? thrown.details : `${server} ${explanation}: ${thrown.details}`;
  const cause = aborted ? (signal.reason as unknown) : thrown;
  return new GuestfsRpcError(rpc, { code, details, metadata }, { ...known, reason, cause });
}
