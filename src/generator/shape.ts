/** Maps actions to RPCs: the rules of the API, in one place. */
import { allActions } from '../actions/areas.js';
import { structs } from '../actions/structs.js';
import type { ActionDef, ArgumentDef, FieldType, OptionalArgumentDef, ReturnDef } from '../actions/types.js';
import { isStreamedAnswer } from '../actions/shape.js';
import { pascalCase } from '../actions/names.js';

/** A field of a message. */
export interface ProtoField {
  readonly label: '' | 'optional ' | 'repeated ';
  readonly type: string;
  readonly name: string;
  readonly number: number;
  readonly comment: string;
}

const KIND_COMMENTS: Record<string, string> = {
  pathname: 'Absolute path in the guest.',
  filename: 'File name without a slash.',
  device: 'Block device of the appliance, such as /dev/sda1.',
  mountable: 'Block device, or a Btrfs subvolume written btrfsvol:/dev/sda1/name.',
  dev_or_path: 'Block device or absolute path in the guest.',
  mountable_or_path: 'Block device, Btrfs subvolume or absolute path in the guest.',
  key: 'Key or passphrase; never logged.',
  guid: 'GUID.',
};

const ON_SERVER = 'Path on the server, under one of its image roots; a relative path is searched for in each of them.';
const STRING_LIST = 'Empty is not the same as unset; in JSON `{ "values": ["..."] }`.';

/** The comment on an argument, from the general to the particular. */
function commentOn(argument: ArgumentDef | OptionalArgumentDef, ofType = ''): string {
  return [
    ofType,
    argument.onServer ? ON_SERVER : '',
    argument.about ?? '',
    'since' in argument && argument.since !== undefined ? `Since libguestfs ${argument.since}.` : '',
  ]
    .filter(Boolean)
    .join(' ');
}

function argumentField(argument: ArgumentDef, number: number): ProtoField {
  const comment = commentOn(argument, 'kind' in argument ? KIND_COMMENTS[argument.kind] : '');
  const field = (type: string, label: ProtoField['label'] = ''): ProtoField => ({
    label,
    type,
    name: argument.name,
    number,
    comment,
  });
  switch (argument.type) {
    case 'string':
      return field('string');
    case 'string_list':
      return field('string', 'repeated ');
    case 'opt_string':
      return field('string', 'optional ');
    case 'buffer':
      return field('bytes');
    case 'bool':
      return field('bool');
    case 'int':
      return field('int32');
    case 'int64':
      return field('int64');
    case 'pointer':
      return { ...field('string'), comment: 'Name or UUID of the libvirt domain.' };
  }
}

const OPTIONAL_TYPES = {
  bool: 'bool',
  int: 'int32',
  int64: 'int64',
  string: 'string',
  string_list: 'StringList',
} as const;

/** The description, extended by facts from other members of the record. */
export function fullDescription({ description, notOverNetwork }: ActionDef): string {
  if (notOverNetwork === undefined) return description;
  return `${description} It does not work over a network: ${notOverNetwork.why}. Instead, ${notOverNetwork.instead}.`;
}

/** Arguments that are fields: all but the streamed file. */
export function fieldArguments(action: ActionDef): readonly ArgumentDef[] {
  return action.args.filter(
    (argument) => !(argument.type === 'string' && (argument.kind === 'filein' || argument.kind === 'fileout')),
  );
}

/** First number of fields that libguestfs does not have: above those of any arguments. */
const FIRST_OWN_NUMBER = 101;

/** Fields of the request, or of the arguments message of a FileIn action. */
export function requestFields(action: ActionDef): ProtoField[] {
  const required = fieldArguments(action).map((argument, index) => argumentField(argument, index + 1));
  const optional = action.optargs.map(
    (argument, index): ProtoField => ({
      label: argument.type === 'string_list' ? '' : 'optional ',
      type: OPTIONAL_TYPES[argument.type],
      name: argument.name,
      number: required.length + index + 1,
      comment: commentOn(argument, argument.type === 'string_list' ? STRING_LIST : ''),
    }),
  );
  const own = (action.ownFields ?? []).map(
    ({ type, name, about }, index): ProtoField => ({
      label: 'optional ',
      type,
      name,
      number: FIRST_OWN_NUMBER + index,
      comment: about,
    }),
  );
  return [...required, ...optional, ...own];
}

/** What a client may state about the file that it uploads; numbered above those of any arguments. */
export const uploadFields: readonly ProtoField[] = [
  {
    label: 'optional ',
    type: 'int64',
    name: 'progress_hint',
    number: 100,
    comment:
      'Size in bytes of what will be streamed, if known: progress events then have a total. It may be wrong. Without it, exact_size is used.',
  },
  {
    label: 'optional ',
    type: 'int64',
    name: 'exact_size',
    number: 101,
    comment:
      'Size in bytes of what will be streamed. If another number of bytes arrives, the transfer is cancelled and the call fails with DATA_LOSS, reason CHECKSUM_MISMATCH.',
  },
  {
    label: 'optional ',
    type: 'bytes',
    name: 'sha256',
    number: 102,
    comment: 'SHA-256 of what will be streamed, 32 bytes; compared as exact_size is.',
  },
  {
    label: 'optional ',
    type: 'fixed32',
    name: 'crc32c',
    number: 103,
    comment: 'CRC-32C (Castagnoli) of what will be streamed; compared as exact_size is.',
  },
];

function returnField(returns: ReturnDef): Omit<ProtoField, 'name' | 'number' | 'comment'> | undefined {
  switch (returns.type) {
    case 'err':
      return undefined;
    case 'bool':
      return { label: '', type: 'bool' };
    case 'int':
      return { label: '', type: 'int32' };
    case 'int64':
      return { label: '', type: 'int64' };
    case 'string':
    case 'const_string':
      return { label: '', type: 'string' };
    case 'const_opt_string':
      return { label: 'optional ', type: 'string' };
    case 'buffer':
      return { label: '', type: 'bytes' };
    case 'string_list':
      return { label: 'repeated ', type: 'string' };
    case 'hashtable':
      return { label: '', type: 'map<string, string>' };
    case 'struct':
      return { label: '', type: pascalCase(returns.struct) };
    case 'struct_list':
      return { label: 'repeated ', type: pascalCase(returns.struct) };
  }
}

/** Fields of the response: none or one. */
export function responseFields(action: ActionDef): ProtoField[] {
  const field = returnField(action.returns);
  if (!field || action.returns.type === 'err') return [];
  const comment = isStreamedAnswer(action) ? 'The next batch.' : '';
  return [{ ...field, name: action.returns.name, number: 1, comment }];
}

const STRUCT_FIELD_TYPES: Record<FieldType, string> = {
  char: 'string',
  string: 'string',
  device: 'string',
  buffer: 'bytes',
  uuid: 'string',
  int32: 'int32',
  uint32: 'uint32',
  int64: 'int64',
  uint64: 'uint64',
  bytes: 'int64',
  optpercent: 'float',
};

const STRUCT_FIELD_COMMENTS: Partial<Record<FieldType, string>> = {
  char: 'One character.',
  bytes: 'Bytes.',
  optpercent: 'Percentage; unset when not present.',
};

/** Fields of the message of a struct. */
export function structFields(name: string): ProtoField[] {
  const struct = structs.find((candidate) => candidate.name === name);
  if (!struct) throw new Error(`no struct ${name}`);
  return struct.fields.map((field, index) => ({
    label: field.type === 'optpercent' ? 'optional ' : '',
    type: STRUCT_FIELD_TYPES[field.type],
    name: field.name,
    number: index + 1,
    comment: STRUCT_FIELD_COMMENTS[field.type] ?? '',
  }));
}

/** Structs that public actions return. */
export function publicStructs(): string[] {
  const used = new Set<string>();
  for (const action of allActions) {
    if (action.visibility !== 'internal' && 'struct' in action.returns) used.add(action.returns.struct);
  }
  return structs.map((struct) => struct.name).filter((name) => used.has(name));
}
