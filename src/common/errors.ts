/**
 * The one family of errors.
 *
 * Every failure that is reported to clients is a {@link GuestfsError}; its
 * `reason` is either the name of an errno, as the daemon sends it, or one of
 * {@link OwnReason}. The gRPC status is derived from the reason, in one place:
 * `server/statusMapping.ts`. Anything else that is thrown is a defect of the server.
 */

import { exhaustionIn } from './exhaustion.js';

/** Reasons that are not the name of an errno. */
export type OwnReason =
  /** A daemon error that carries no errno. */
  | 'DAEMON_ERROR'
  /** An argument that is invalid in any state. */
  | 'BAD_ARGUMENT'
  /** The client does not prove its identity. */
  | 'UNAUTHENTICATED'
  | 'MALFORMED_SESSION_ID'
  | 'SESSION_MISSING'
  | 'SESSION_UNKNOWN'
  | 'SESSION_EXISTS'
  /** Another replica has the session; metadata `replica` and, if it is known, `endpoint`. */
  | 'SESSION_ELSEWHERE'
  /** The replica that had the session has ended, and the session with it; metadata `replica` and `cause`. */
  | 'SESSION_LOST'
  /** Another replica has the session, and cannot be reached; the call was not sent. */
  | 'OWNER_UNREACHABLE'
  /** The session's state does not allow the action. */
  | 'WRONG_STATE'
  | 'NO_DRIVES'
  /** A call that was never sent: the appliance had ended. */
  | 'APPLIANCE_GONE'
  /** A request ID that belongs to another call. */
  | 'REQUEST_ID_REUSED'
  /** The call with this request ID has succeeded, and its answer is no longer there. */
  | 'ANSWER_NOT_KEPT'
  /** No call with this request ID runs. */
  | 'CALL_UNKNOWN'
  /** A call that was sent, but not answered. */
  | 'OUTCOME_UNKNOWN'
  /** As OUTCOME_UNKNOWN: qemu or the daemon no longer answered, and the appliance was ended. */
  | 'UNRESPONSIVE'
  /** The appliance violated the wire protocol and was stopped. */
  | 'PROTOCOL_ERROR'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'MESSAGE_TOO_LARGE'
  | 'CHUNK_TOO_LARGE'
  /** An upload that differs from the size or checksum stated by its client. */
  | 'CHECKSUM_MISMATCH'
  /** An upload whose stream ended prematurely. */
  | 'UPLOAD_INCOMPLETE'
  | 'QUEUE_FULL'
  | 'TOO_MANY_SESSIONS'
  /** A limit that the operator has set; metadata `limit` names it, `maximum` is its value. */
  | 'LIMIT_EXCEEDED'
  | 'SHUTTING_DOWN'
  /** The host does not let the server keep several identities apart, and it works for another one. */
  | 'NOT_ISOLATED'
  /** The daemon in the appliance lacks the action or its optional group. */
  | 'ACTION_NOT_IN_DAEMON'
  | 'GROUP_NOT_AVAILABLE'
  /** An action that makes no sense over a network. */
  | 'NOT_OVER_NETWORK'
  /** Not permitted by the server's configuration. */
  | 'NOT_ALLOWED'
  | 'OUTSIDE_IMAGE_ROOTS'
  | 'IMAGE_MISSING'
  | 'IMAGE_UNUSABLE'
  | 'IMAGE_LOCKED'
  /** An image was truncated, deleted or replaced on the host while it was attached; metadata `change` says which. */
  | 'IMAGE_CHANGED'
  /** NTFS that only a Windows that is awake may write. */
  | 'NTFS_HIBERNATED'
  | 'APPLIANCE_MISSING'
  | 'APPLIANCE_UNUSABLE'
  | 'QEMU_MISSING'
  | 'QEMU_FAILED'
  | 'KVM_UNUSABLE'
  | 'KERNEL_PANIC'
  | 'OUT_OF_MEMORY'
  | 'LAUNCH_TIMEOUT'
  | 'LAUNCH_FAILED'
  | 'INTERNAL';

/** Further details of an error. */
export interface ErrorDetails {
  /** Facts for programs, such as `state`, `limit` or `daemon_version`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** The request fields that are wrong. */
  readonly fields?: readonly { readonly field: string; readonly description: string }[];
  /** A retry makes sense after this many milliseconds. */
  readonly retryAfterMs?: number;
  /** A call had been sent, and whether it had an effect is unknown, for whatever reason. */
  readonly outcomeUnknown?: true;
  readonly cause?: unknown;
}

/** Reasons that say what failed rather than why. */
const UNSPECIFIC: ReadonlySet<string> = new Set<OwnReason>([
  'APPLIANCE_UNUSABLE',
  'IMAGE_UNUSABLE',
  'QEMU_FAILED',
  'LAUNCH_FAILED',
  'INTERNAL',
]);

/** A failure to be reported to the client. */
export class GuestfsError extends Error {
  override readonly name = 'GuestfsError';

  /**
   * @param reason name of an errno (`ENOENT`) or one of ours
   * @param message a self-explanatory sentence
   */
  constructor(
    readonly reason: OwnReason | (string & {}),
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(message, { cause: details.cause });
  }

  /**
   * Converts anything thrown: what failed because the host has no more of something says so, whatever it was wrapped in;
   * any other unknown error becomes `INTERNAL` with the original as cause.
   */
  static from(thrown: unknown): GuestfsError {
    const known = thrown instanceof GuestfsError;
    const exhaustion = !known || UNSPECIFIC.has(thrown.reason) ? exhaustionIn(thrown) : undefined;
    if (exhaustion !== undefined) return new GuestfsError(exhaustion.reason, exhaustion.message, exhaustion.details);
    if (known) return thrown;
    if (thrown instanceof Error && thrown.name === 'AbortError' && thrown.cause instanceof GuestfsError)
      return thrown.cause;
    return new GuestfsError('INTERNAL', 'internal error; the server log has the details', { cause: thrown });
  }
}

/** The error for an invalid argument. */
export function badArgument(field: string, description: string): GuestfsError {
  return new GuestfsError('BAD_ARGUMENT', `${field}: ${description}`, { fields: [{ field, description }] });
}

/** The text of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
