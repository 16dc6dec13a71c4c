/** Reads what the service says about an error beside its status: `google.rpc.Status` in the trailers. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { Metadata } from '@grpc/grpc-js';

/** The trailer that carries it. */
const DETAILS_TRAILER = 'grpc-status-details-bin';
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';
const MILLISECONDS = 1000;
const NANOSECONDS_PER_MILLISECOND = 1_000_000;

/** What came with an error. */
export interface ErrorInfo {
  /** An errno's name, such as `ENOENT`, or one of the service's own reasons, such as `IMAGE_LOCKED`. */
  readonly reason: string;
  /** Whose reasons these are: `guestfs`. */
  readonly domain: string;
  /** More about it: `action` and `state` of the session, and what the reason's entry in docs/errors.md names. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of the request's fields that are wrong. */
  readonly fields: readonly string[];
  /** After how many milliseconds a retry may help; undefined where none is suggested. */
  readonly retryAfterMs: number | undefined;
}

/** Fields of a message by number: bytes, or a number for those that are varints; others are skipped. */
function fieldsOf(bytes: Uint8Array): ReadonlyMap<number, readonly (Uint8Array | number)[]> {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, (Uint8Array | number)[]>();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const values = fields.get(number) ?? [];
    fields.set(number, values);
    if (type === WireType.LengthDelimited) values.push(reader.bytes());
    else if (type === WireType.Varint) values.push(Number(reader.int64()));
    else reader.skip(type);
  }
  return fields;
}

type Fields = ReturnType<typeof fieldsOf>;

function messages(fields: Fields | undefined, number: number): Uint8Array[] {
  return (fields?.get(number) ?? []).filter((value) => typeof value !== 'number');
}

function text(fields: Fields | undefined, number: number): string {
  return Buffer.from(messages(fields, number)[0] ?? []).toString();
}

function integer(fields: Fields | undefined, number: number): number {
  const value = fields?.get(number)?.[0];
  return typeof value === 'number' ? value : 0;
}

function retryDelay(retryInfo: Fields): number {
  const duration = fieldsOf(messages(retryInfo, 1)[0] ?? new Uint8Array());
  return integer(duration, 1) * MILLISECONDS + integer(duration, 2) / NANOSECONDS_PER_MILLISECOND;
}

/** What came in the trailers of an error; undefined if nothing did, as when the server cannot be reached. */
export function errorInfoOf(trailers: Metadata): ErrorInfo | undefined {
  const [status] = trailers.get(DETAILS_TRAILER);
  if (!Buffer.isBuffer(status)) return undefined;
  const details = new Map(
    messages(fieldsOf(status), 3).map((detail) => {
      const any = fieldsOf(detail);
      return [text(any, 1), fieldsOf(messages(any, 2)[0] ?? new Uint8Array())];
    }),
  );
  const info = details.get(`${TYPE_PREFIX}ErrorInfo`);
  const retryInfo = details.get(`${TYPE_PREFIX}RetryInfo`);
  return {
    reason: text(info, 1),
    domain: text(info, 2),
    metadata: Object.fromEntries(
      messages(info, 3)
        .map(fieldsOf)
        .map((entry) => [text(entry, 1), text(entry, 2)]),
    ),
    fields: messages(details.get(`${TYPE_PREFIX}BadRequest`), 1).map((violation) => text(fieldsOf(violation), 1)),
    retryAfterMs: retryInfo === undefined ? undefined : retryDelay(retryInfo),
  };
}
