/** Reads the recordings next to this file (see README.md), and turns their values into requests. */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { daemonCalls } from '../../gen/calls/index.js';
import { allActions } from '../../src/actions/areas.js';
import { structs } from '../../src/actions/structs.js';
import type { ActionDef, FieldType } from '../../src/actions/types.js';
import { decodeGuestText, encodeGuestText } from '../../src/common/guestText.js';
import type { AnyDaemonCall } from '../../src/protocol/daemonCall.js';
import { DaemonVersion } from '../../src/protocol/daemonVersion.js';

/** The version of libguestfs that was recorded. */
export const RECORDED_VERSION = new DaemonVersion('1.48.6');

/** Bytes in a record that are not text. */
type RecordedBytes = { readonly hex: string } | { readonly repeat: string; readonly count: number };
export type RecordedValue = string | number | boolean | null | RecordedBytes | readonly RecordedValue[];

export interface RequestRecord {
  readonly action: string;
  readonly case: string;
  readonly via?: string;
  readonly args: Readonly<Record<string, RecordedValue>>;
  readonly optargs: Readonly<Record<string, RecordedValue>>;
  readonly serial: number;
  readonly progressHint?: string;
  readonly request?: string;
  readonly requestLength?: number;
  readonly requestSha256?: string;
  readonly payload?: { readonly size: number; readonly source: 'file' | 'pipe' | 'missing' };
  readonly chunkSizes?: readonly number[];
  readonly chunks?: readonly string[];
  readonly chunksSha256?: string;
}

export interface ReplyRecord {
  readonly action: string;
  readonly via?: string;
  readonly serial: number;
  readonly before?: readonly string[];
  readonly reply: string;
  readonly chunkSizes?: readonly number[];
  readonly chunks?: readonly string[];
  readonly chunksSha256?: string;
  readonly cancelled?: boolean;
  readonly value?: unknown;
  readonly error?: { readonly errno: string; readonly message: string };
}

/** One of the files in this folder of the source; tests run from the compiled one, which has none. */
export function goldenPath(name: string): string {
  return join(fileURLToPath(new URL('../../../test/golden', import.meta.url)), name);
}

export function readRecords<Record>(name: string): Record[] {
  return JSON.parse(readFileSync(goldenPath(name), 'utf8')) as Record[];
}

const actionsByName = new Map(allActions.map((action) => [action.name, action]));

export function actionOf(name: string): ActionDef {
  const action = actionsByName.get(name);
  if (!action) throw new Error(`no action ${name} in the list`);
  return action;
}

/** The codec of an action for a procedure number: an action can have one for older daemons too. */
export function callFor(action: string, procedure: number): AnyDaemonCall {
  const call = Object.values(daemonCalls).find(
    (candidate) => candidate.action === action && candidate.procedure === procedure,
  );
  if (!call) throw new Error(`no codec of ${action} for procedure ${procedure}`);
  return call;
}

function isBytes(value: RecordedValue): value is RecordedBytes {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bytesOf(value: RecordedValue): Buffer {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (!isBytes(value)) throw new Error(`not bytes: ${JSON.stringify(value)}`);
  return 'hex' in value ? Buffer.from(value.hex, 'hex') : Buffer.from(value.repeat.repeat(value.count), 'latin1');
}

/** As a client would send it. */
function textOf(value: RecordedValue): string {
  return decodeGuestText(bytesOf(value));
}

function fieldOf(type: string, value: RecordedValue): unknown {
  switch (type) {
    case 'bool':
    case 'int':
      return value;
    case 'int64':
      return BigInt(value as string);
    case 'buffer':
      return bytesOf(value);
    case 'opt_string':
      return value === null ? undefined : textOf(value);
    case 'string':
      return textOf(value);
    case 'string_list':
      return (value as readonly RecordedValue[]).map(textOf);
    default:
      throw new Error(`no value of type ${type}`);
  }
}

/** The protobuf message with a record's arguments, as ts-proto makes it. */
export function requestOf(record: RequestRecord): object {
  const action = actionOf(record.action);
  const request: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(record.args)) {
    const argument = action.args.find((candidate) => candidate.name === name);
    if (!argument) throw new Error(`${action.name} has no argument ${name}`);
    request[name] = fieldOf(argument.type, value);
  }
  for (const [name, value] of Object.entries(record.optargs)) {
    const argument = action.optargs.find((candidate) => candidate.name === name);
    if (!argument) throw new Error(`${action.name} has no optional argument ${name}`);
    const field = fieldOf(argument.type, value);
    request[name] = argument.type === 'string_list' ? { values: field } : field;
  }
  return request;
}

/** What was uploaded. */
export function payloadOf(size: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: size }, (_, index) => (index * 7 + 3) % 251));
}

function recordedBytes(bytes: Uint8Array): { readonly hex: string } {
  return { hex: Buffer.from(bytes).toString('hex') };
}

/** Text, or bytes if they are not text. */
function recordedText(text: string): unknown {
  const bytes = encodeGuestText(text);
  return isUtf8(bytes) ? bytes.toString('utf8') : recordedBytes(bytes);
}

function recordedField(type: FieldType, value: unknown): unknown {
  switch (type) {
    case 'int64':
    case 'uint64':
    case 'bytes':
      return String(value);
    case 'int32':
    case 'uint32':
      return value;
    case 'optpercent':
      return value ?? null;
    case 'buffer':
      return recordedBytes(value as Buffer);
    default:
      return recordedText(value as string);
  }
}

const structsByName = new Map(structs.map((struct) => [struct.name, struct]));

/** A struct in the form of the recordings; superfluous and missing fields are detected. */
export function recordedStruct(name: string, value: object): unknown {
  const types = new Map(structsByName.get(name)?.fields.map((field) => [field.name, field.type]));
  return Object.fromEntries(
    Object.entries(value).map(([field, content]) => {
      const type = types.get(field);
      if (type === undefined) throw new Error(`struct ${name} has no field ${field}`);
      return [field, recordedField(type, content)];
    }),
  );
}

/** What an action returned, in the form of the recordings. */
export function recordedValue(action: ActionDef, response: Readonly<Record<string, unknown>>): unknown {
  const { returns } = action;
  if (returns.type === 'err') return null;
  const value = response[returns.name];
  switch (returns.type) {
    case 'int64':
      return String(value);
    case 'string':
      return recordedText(value as string);
    case 'string_list':
      return (value as string[]).map(recordedText);
    case 'hashtable':
      return Object.fromEntries(
        [...(value as Map<string, string>)].map(([key, content]) => [key, recordedText(content)]),
      );
    case 'buffer':
      return recordedBytes(value as Buffer);
    case 'struct':
      return recordedStruct(returns.struct, value as object);
    case 'struct_list':
      return (value as object[]).map((item) => recordedStruct(returns.struct, item));
    default:
      return value;
  }
}
