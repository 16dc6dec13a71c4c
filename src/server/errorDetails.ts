/** `google.rpc.Status` and the details that go into it, as bytes for the trailer. */
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { GuestfsError } from '../common/errors.js';

/** The trailer that carries it. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';
/** Domain of our ErrorInfo. */
export const ERROR_DOMAIN = 'guestfs';

const MILLISECONDS = 1000;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';

function lengthDelimited(field: number): number {
  return (field << 3) | 2;
}

function message(fill: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  fill(writer);
  return writer.finish();
}

function errorInfo(error: GuestfsError, metadata: ReadonlyMap<string, string>): Uint8Array {
  return message((writer) => {
    writer.uint32(lengthDelimited(1)).string(error.reason);
    writer.uint32(lengthDelimited(2)).string(ERROR_DOMAIN);
    for (const [key, value] of metadata) {
      writer.uint32(lengthDelimited(3)).bytes(
        message((entry) => {
          entry.uint32(lengthDelimited(1)).string(key);
          entry.uint32(lengthDelimited(2)).string(value);
        }),
      );
    }
  });
}

function badRequest(fields: NonNullable<GuestfsError['details']['fields']>): Uint8Array {
  return message((writer) => {
    for (const { field, description } of fields) {
      writer.uint32(lengthDelimited(1)).bytes(
        message((violation) => {
          violation.uint32(lengthDelimited(1)).string(field);
          violation.uint32(lengthDelimited(2)).string(description);
        }),
      );
    }
  });
}

function retryInfo(delayMs: number): Uint8Array {
  return message((writer) => {
    writer.uint32(lengthDelimited(1)).bytes(
      message((duration) => {
        duration.uint32(1 << 3).int64(Math.floor(delayMs / MILLISECONDS));
        duration.uint32(2 << 3).int32((delayMs % MILLISECONDS) * NANOSECONDS_PER_MILLISECOND);
      }),
    );
  });
}

/** The bytes of a `google.rpc.Status` with ErrorInfo, and BadRequest and RetryInfo where they apply. */
export function encodeStatus(
  code: number,
  text: string,
  error: GuestfsError,
  metadata: ReadonlyMap<string, string>,
): Buffer {
  const details: [string, Uint8Array][] = [['ErrorInfo', errorInfo(error, metadata)]];
  if (error.details.fields) details.push(['BadRequest', badRequest(error.details.fields)]);
  if (error.details.retryAfterMs !== undefined) details.push(['RetryInfo', retryInfo(error.details.retryAfterMs)]);
  return Buffer.from(
    message((writer) => {
      writer.uint32(1 << 3).int32(code);
      writer.uint32(lengthDelimited(2)).string(text);
      for (const [type, value] of details) {
        writer.uint32(lengthDelimited(3)).bytes(
          message((any) => {
            any.uint32(lengthDelimited(1)).string(TYPE_PREFIX + type);
            any.uint32(lengthDelimited(2)).bytes(value);
          }),
        );
      }
    }),
  );
}
