/** Maps errors to gRPC statuses, by their reason. */
import { Metadata, status, type StatusObject } from '@grpc/grpc-js';
import { GuestfsError, type OwnReason } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { printable } from '../common/guestText.js';
import { DETAILS_TRAILER, encodeStatus } from './errorDetails.js';

const OWN_STATUS: Record<OwnReason, status> = {
  DAEMON_ERROR: status.UNKNOWN,
  BAD_ARGUMENT: status.INVALID_ARGUMENT,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  MALFORMED_SESSION_ID: status.INVALID_ARGUMENT,
  SESSION_MISSING: status.INVALID_ARGUMENT,
  SESSION_UNKNOWN: status.NOT_FOUND,
  SESSION_EXISTS: status.ALREADY_EXISTS,
  SESSION_ELSEWHERE: status.FAILED_PRECONDITION,
  SESSION_LOST: status.NOT_FOUND,
  OWNER_UNREACHABLE: status.UNAVAILABLE,
  WRONG_STATE: status.FAILED_PRECONDITION,
  NO_DRIVES: status.FAILED_PRECONDITION,
  APPLIANCE_GONE: status.UNAVAILABLE,
  REQUEST_ID_REUSED: status.INVALID_ARGUMENT,
  ANSWER_NOT_KEPT: status.FAILED_PRECONDITION,
  CALL_UNKNOWN: status.NOT_FOUND,
  OUTCOME_UNKNOWN: status.ABORTED,
  UNRESPONSIVE: status.ABORTED,
  PROTOCOL_ERROR: status.INTERNAL,
  CANCELLED: status.CANCELLED,
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  MESSAGE_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  CHUNK_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  CHECKSUM_MISMATCH: status.DATA_LOSS,
  UPLOAD_INCOMPLETE: status.DATA_LOSS,
  QUEUE_FULL: status.RESOURCE_EXHAUSTED,
  TOO_MANY_SESSIONS: status.RESOURCE_EXHAUSTED,
  LIMIT_EXCEEDED: status.RESOURCE_EXHAUSTED,
  SHUTTING_DOWN: status.UNAVAILABLE,
  NOT_ISOLATED: status.FAILED_PRECONDITION,
  ACTION_NOT_IN_DAEMON: status.UNIMPLEMENTED,
  GROUP_NOT_AVAILABLE: status.UNIMPLEMENTED,
  NOT_OVER_NETWORK: status.UNIMPLEMENTED,
  NOT_ALLOWED: status.PERMISSION_DENIED,
  OUTSIDE_IMAGE_ROOTS: status.PERMISSION_DENIED,
  IMAGE_MISSING: status.NOT_FOUND,
  IMAGE_UNUSABLE: status.FAILED_PRECONDITION,
  IMAGE_LOCKED: status.FAILED_PRECONDITION,
  IMAGE_CHANGED: status.DATA_LOSS,
  NTFS_HIBERNATED: status.FAILED_PRECONDITION,
  APPLIANCE_MISSING: status.FAILED_PRECONDITION,
  APPLIANCE_UNUSABLE: status.FAILED_PRECONDITION,
  QEMU_MISSING: status.FAILED_PRECONDITION,
  QEMU_FAILED: status.INTERNAL,
  KVM_UNUSABLE: status.FAILED_PRECONDITION,
  KERNEL_PANIC: status.INTERNAL,
  OUT_OF_MEMORY: status.RESOURCE_EXHAUSTED,
  LAUNCH_TIMEOUT: status.DEADLINE_EXCEEDED,
  LAUNCH_FAILED: status.INTERNAL,
  INTERNAL: status.INTERNAL,
};

const ERRNO_STATUS: Readonly<Record<string, status>> = {
  ENOENT: status.NOT_FOUND,
  ENODEV: status.NOT_FOUND,
  ENXIO: status.NOT_FOUND,
  ENODATA: status.NOT_FOUND,
  ESRCH: status.NOT_FOUND,
  EEXIST: status.ALREADY_EXISTS,
  EINVAL: status.INVALID_ARGUMENT,
  ENAMETOOLONG: status.INVALID_ARGUMENT,
  EDOM: status.INVALID_ARGUMENT,
  EILSEQ: status.INVALID_ARGUMENT,
  ERANGE: status.OUT_OF_RANGE,
  EOVERFLOW: status.OUT_OF_RANGE,
  EFBIG: status.OUT_OF_RANGE,
  EPERM: status.PERMISSION_DENIED,
  EACCES: status.PERMISSION_DENIED,
  ENOSPC: status.RESOURCE_EXHAUSTED,
  EDQUOT: status.RESOURCE_EXHAUSTED,
  EMFILE: status.RESOURCE_EXHAUSTED,
  ENFILE: status.RESOURCE_EXHAUSTED,
  ENOMEM: status.RESOURCE_EXHAUSTED,
  EMLINK: status.RESOURCE_EXHAUSTED,
  E2BIG: status.RESOURCE_EXHAUSTED,
  EMSGSIZE: status.RESOURCE_EXHAUSTED,
  ENOTSUP: status.UNIMPLEMENTED,
  EOPNOTSUPP: status.UNIMPLEMENTED,
  ENOSYS: status.UNIMPLEMENTED,
  EINTR: status.CANCELLED,
  ECANCELED: status.CANCELLED,
  ETIMEDOUT: status.DEADLINE_EXCEEDED,
  ENOTEMPTY: status.FAILED_PRECONDITION,
  EBUSY: status.FAILED_PRECONDITION,
  EROFS: status.FAILED_PRECONDITION,
  ENOTDIR: status.FAILED_PRECONDITION,
  EISDIR: status.FAILED_PRECONDITION,
  ELOOP: status.FAILED_PRECONDITION,
  EXDEV: status.FAILED_PRECONDITION,
  ETXTBSY: status.FAILED_PRECONDITION,
  ENOTBLK: status.FAILED_PRECONDITION,
  ENOTTY: status.FAILED_PRECONDITION,
  EMEDIUMTYPE: status.FAILED_PRECONDITION,
  ENOMEDIUM: status.FAILED_PRECONDITION,
  EIO: status.DATA_LOSS,
  EUCLEAN: status.DATA_LOSS,
  EBADMSG: status.DATA_LOSS,
};

const STATUS: ReadonlyMap<string, status> = new Map(Object.entries({ ...OWN_STATUS, ...ERRNO_STATUS }));

/** All reasons with their own status. */
export const knownReasons: readonly string[] = [...STATUS.keys()];

/** The status for a reason; UNKNOWN for an errno without its own status. */
export function statusOf(reason: string): status {
  return STATUS.get(reason) ?? status.UNKNOWN;
}

/**
 * Clients drop trailers over 8 KiB, and with them the error. The text is sent twice: percent-
 * encoded, and in the details in base64; together they stay under 4 KiB.
 */
const TEXT_LIMIT = 1300;
const DETAILS_LIMIT = 1900;
const VALUE_LIMIT = 200;
const FIELD_LIMIT = 4;

const ELLIPSIS = ' [...] ';

/** Keeps the start and the end, within a limit on the percent-encoded size. */
export function shorten(text: string, limit: number): string {
  const sound = text.toWellFormed();
  if (encodeURI(sound).length <= limit && Buffer.byteLength(sound) <= limit) return sound;
  let head = Math.floor(limit / 3);
  let tail = limit - head;
  for (;;) {
    const cut = (sound.slice(0, head) + ELLIPSIS + sound.slice(Math.max(head, sound.length - tail))).toWellFormed();
    if (encodeURI(cut).length <= limit) return cut;
    head = Math.floor(head * 0.9);
    tail = Math.floor(tail * 0.9);
  }
}

/** Where an error occurred. */
export interface ErrorContext {
  readonly action?: string;
  readonly state?: string;
  /** Removes from texts what clients must not see. */
  readonly hide?: (text: string) => string;
}

/** The status that grpc-js sends for anything thrown; anything but a {@link GuestfsError} is logged. */
export function toStatus(thrown: unknown, context: ErrorContext, logger: Logger): StatusObject {
  const error = GuestfsError.from(thrown);
  // The words can be those of a guest, of its qemu or of the server of a drive.
  const hide = (said: string): string => printable(context.hide?.(said) ?? said);
  if (error.reason === 'INTERNAL')
    logger.error('internal error', { action: context.action, err: error.details.cause ?? error });
  const code = error.details.outcomeUnknown === true ? status.ABORTED : statusOf(error.reason);
  const text = shorten(hide(error.message), TEXT_LIMIT);
  const facts = new Map<string, string>();
  if (context.action !== undefined) facts.set('action', context.action);
  if (context.state !== undefined) facts.set('state', context.state);
  for (const [key, value] of Object.entries(error.details.metadata ?? {}))
    facts.set(key, shorten(hide(value), VALUE_LIMIT));
  const shortened = new GuestfsError(error.reason, text, {
    ...error.details,
    ...(error.details.fields
      ? {
          fields: error.details.fields.slice(0, FIELD_LIMIT).map((field) => ({
            field: shorten(field.field, VALUE_LIMIT),
            description: shorten(hide(field.description), VALUE_LIMIT),
          })),
        }
      : {}),
  });
  let details = encodeStatus(code, text, shortened, facts);
  if (details.length > DETAILS_LIMIT)
    details = encodeStatus(code, shorten(text, VALUE_LIMIT), new GuestfsError(error.reason, text), facts);
  const metadata = new Metadata();
  metadata.set(DETAILS_TRAILER, details);
  return { code, details: text, metadata };
}
