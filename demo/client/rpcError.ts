/** An RPC that failed: which one, with what status, and for what reason. */
import { status, type ServiceError } from '@grpc/grpc-js';
import { reasonOf } from './errorInfo.js';

export class RpcError extends Error {
  override readonly name = 'RpcError';
  /** Name of the gRPC status, such as NOT_FOUND. */
  readonly status: string;
  /** `ErrorInfo.reason`, such as ENOENT or IMAGE_LOCKED; empty if the error has none. */
  readonly reason: string;

  constructor(
    readonly rpc: string,
    error: ServiceError,
  ) {
    const name = status[error.code];
    const reason = reasonOf(error.metadata);
    super(`${rpc}: ${name}${reason === '' ? '' : ` (${reason})`}: ${error.details}`, { cause: error });
    this.status = name;
    this.reason = reason;
  }
}

/** What a failed call rejects with; anything that is no status is left as it is. */
export function asRpcError(rpc: string, thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown && 'metadata' in thrown
    ? new RpcError(rpc, thrown as ServiceError)
    : thrown;
}
