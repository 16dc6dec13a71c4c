/** Reads the ErrorInfo, BadRequest and RetryInfo of a failed call. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { Metadata } from '@grpc/grpc-js';

export interface ErrorInfo {
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Names of the fields in BadRequest. */
  readonly fields: readonly string[];
  /** There is a RetryInfo. */
  readonly retry: boolean;
}

/** Length-delimited fields of a message, by number. */
function fieldsOf(bytes: Uint8Array): { number: number; bytes: Uint8Array }[] {
  const reader = new BinaryReader(bytes);
  const fields: { number: number; bytes: Uint8Array }[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === WireType.LengthDelimited) fields.push({ number, bytes: reader.bytes() });
    else reader.skip(type);
  }
  return fields;
}

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

export function errorInfoOf(metadata: Metadata): ErrorInfo | undefined {
  const [trailer] = metadata.get('grpc-status-details-bin');
  if (!Buffer.isBuffer(trailer)) return undefined;
  const details = fieldsOf(trailer)
    .filter((field) => field.number === 3)
    .map((field) => {
      const any = fieldsOf(field.bytes);
      return {
        type: text(any.find((one) => one.number === 1)?.bytes),
        value: fieldsOf(any.find((one) => one.number === 2)?.bytes ?? new Uint8Array()),
      };
    });
  const info = details.find((detail) => detail.type.endsWith('google.rpc.ErrorInfo'))?.value ?? [];
  const badRequest = details.find((detail) => detail.type.endsWith('google.rpc.BadRequest'))?.value ?? [];
  return {
    reason: text(info.find((field) => field.number === 1)?.bytes),
    domain: text(info.find((field) => field.number === 2)?.bytes),
    metadata: Object.fromEntries(
      info
        .filter((field) => field.number === 3)
        .map((field) => {
          const entry = fieldsOf(field.bytes);
          return [
            text(entry.find((one) => one.number === 1)?.bytes),
            text(entry.find((one) => one.number === 2)?.bytes),
          ];
        }),
    ),
    fields: badRequest.map((field) => text(fieldsOf(field.bytes).find((one) => one.number === 1)?.bytes)),
    retry: details.some((detail) => detail.type.endsWith('google.rpc.RetryInfo')),
  };
}
