/** Reads the reason of an error out of the `google.rpc.Status` that comes with it. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { Metadata } from '@grpc/grpc-js';

const STATUS_DETAILS = 3;
const ANY_TYPE = 1;
const ANY_VALUE = 2;
const INFO_REASON = 1;
const ERROR_INFO = 'type.googleapis.com/google.rpc.ErrorInfo';

/** The length-delimited fields of a message, by number; other fields are skipped. */
function fieldsOf(bytes: Uint8Array): [field: number, value: Uint8Array][] {
  const reader = new BinaryReader(bytes);
  const fields: [number, Uint8Array][] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) fields.push([field, reader.bytes()]);
    else reader.skip(type);
  }
  return fields;
}

function textOf(fields: readonly (readonly [number, Uint8Array])[], number: number): string {
  const value = fields.find(([field]) => field === number)?.[1];
  return Buffer.from(value ?? []).toString();
}

/** `ErrorInfo.reason`: an errno's name or one of the service's own words; empty if there is none. */
export function reasonOf(metadata: Metadata): string {
  const [status] = metadata.get('grpc-status-details-bin');
  if (!Buffer.isBuffer(status)) return '';
  for (const [field, detail] of fieldsOf(status)) {
    const any = field === STATUS_DETAILS ? fieldsOf(detail) : [];
    if (textOf(any, ANY_TYPE) !== ERROR_INFO) continue;
    const info = any.find(([number]) => number === ANY_VALUE)?.[1];
    if (info !== undefined) return textOf(fieldsOf(info), INFO_REASON);
  }
  return '';
}
