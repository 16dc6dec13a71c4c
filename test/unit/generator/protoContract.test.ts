/**
 * The public API keeps its contract: the descriptors that clients are generated from, against
 * the list of actions. The rules are written down here once more, apart from the generator.
 */
import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  fromBinary,
  getExtension,
  hasExtension,
  ScalarType,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { structs } from '../../../src/actions/structs.js';
import type { ActionDef, FieldType, ReturnDef } from '../../../src/actions/types.js';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync('gen/proto/descriptors.binpb')));
const files = [...registry.files].filter((file) => file.proto.package === 'guestfs.v1');
const services = files.flatMap((file) => file.services);
const actionOption = registry.getExtension('guestfs.v1.action');

/** RPCs of an action's service that are not actions. */
const COMPOSITE = ['Inspect'];
const OTHER_SERVICES = ['SessionService', 'EventService'];
/** Answers of unlimited size: a batch in each message. */
const IN_BATCHES = ['ls', 'find', 'readdir', 'filesystem_walk', 'find_inode', 'yara_scan'];
/** Of each upload, above its arguments. */
const UPLOAD_FIELDS = [
  'progress_hint int64 = 100 optional',
  'exact_size int64 = 101 optional',
  'sha256 bytes = 102 optional',
  'crc32c fixed32 = 103 optional',
];

const optionsOf = ({ proto }: DescMethod): Record<string, unknown> | undefined => {
  if (actionOption === undefined || proto.options === undefined || !hasExtension(proto.options, actionOption))
    return undefined;
  return getExtension(proto.options, actionOption) as Message & Record<string, unknown>;
};

const rpcs = new Map<
  string,
  { readonly service: DescService; readonly method: DescMethod; readonly option: Record<string, unknown> }
>();
for (const service of services) {
  for (const method of service.methods) {
    const option = optionsOf(method);
    if (option) rpcs.set(option['name'] as string, { service, method, option });
  }
}

const published = allActions.filter(({ visibility }) => visibility !== 'internal');
const named = published.map((action) => [action.name, action] as const);
/** `aug_init` -> `AugInit`. */
const rpcName = (name: string): string => name.replace(/(?:^|_)(.)/g, (_match, letter: string) => letter.toUpperCase());

const messageOf = (name: string): DescMessage => {
  const message = registry.getMessage(`guestfs.v1.${name}`);
  if (!message) throw new Error(`no message ${name}`);
  return message;
};
const rpcOf = (action: ActionDef) => {
  const rpc = rpcs.get(action.name);
  if (!rpc) throw new Error(`no RPC of ${action.name}`);
  return rpc;
};

const typeOf = (field: DescField): string => {
  switch (field.fieldKind) {
    case 'scalar':
      return ScalarType[field.scalar].toLowerCase();
    case 'message':
      return field.message.name;
    case 'map':
      return `map<${ScalarType[field.mapKey].toLowerCase()}, ${field.mapKind === 'scalar' ? ScalarType[field.scalar].toLowerCase() : field.mapKind}>`;
    case 'list':
      return `repeated ${field.listKind === 'scalar' ? ScalarType[field.scalar].toLowerCase() : field.listKind === 'message' ? field.message.name : field.enum.name}`;
    case 'enum':
      return field.enum.name;
  }
};
/** A field in one line, `name type = number`; whether it is `optional`, and in which oneof it is. */
const written = (field: DescField): string =>
  `${field.name} ${typeOf(field)} = ${field.number}${field.proto.proto3Optional ? ' optional' : ''}${field.oneof ? ` in ${field.oneof.name}` : ''}`;
const fieldsOf = (message: DescMessage): string[] => message.fields.map(written);

const isFile = (action: ActionDef, kind: 'filein' | 'fileout'): boolean =>
  action.args.some((argument) => argument.type === 'string' && argument.kind === kind);

const REQUIRED = {
  string: 'string',
  opt_string: 'string',
  string_list: 'repeated string',
  buffer: 'bytes',
  bool: 'bool',
  int: 'int32',
  int64: 'int64',
  pointer: 'string',
} as const;
const OPTIONAL = { string: 'string', bool: 'bool', int: 'int32', int64: 'int64', string_list: 'StringList' } as const;

function argumentFields(action: ActionDef): string[] {
  const required = action.args.filter(
    (argument) => !(argument.type === 'string' && (argument.kind === 'filein' || argument.kind === 'fileout')),
  );
  return [
    ...required.map(
      ({ name, type }, index) => `${name} ${REQUIRED[type]} = ${index + 1}${type === 'opt_string' ? ' optional' : ''}`,
    ),
    // A message is unset or not without being `optional`.
    ...action.optargs.map(
      ({ name, type }, index) =>
        `${name} ${OPTIONAL[type]} = ${required.length + index + 1}${type === 'string_list' ? '' : ' optional'}`,
    ),
    ...(action.ownFields ?? []).map(({ name, type }, index) => `${name} ${type} = ${101 + index} optional`),
  ];
}

function returned(returns: ReturnDef): string[] {
  switch (returns.type) {
    case 'err':
      return [];
    case 'bool':
    case 'int64':
    case 'string':
      return [`${returns.name} ${returns.type} = 1`];
    case 'int':
      return [`${returns.name} int32 = 1`];
    case 'const_string':
      return [`${returns.name} string = 1`];
    case 'const_opt_string':
      return [`${returns.name} string = 1 optional`];
    case 'buffer':
      return [`${returns.name} bytes = 1`];
    case 'string_list':
      return [`${returns.name} repeated string = 1`];
    case 'hashtable':
      return [`${returns.name} map<string, string> = 1`];
    case 'struct':
      return [`${returns.name} ${rpcName(returns.struct)} = 1`];
    case 'struct_list':
      return [`${returns.name} repeated ${rpcName(returns.struct)} = 1`];
  }
}

const MEMBER: Record<FieldType, string> = {
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

describe('the API', () => {
  it('has one RPC for each of 600 public actions, and for 4 of DebugService', () => {
    expect([...rpcs.keys()].sort()).toEqual(published.map(({ name }) => name).sort());
    const debug = published.filter(({ visibility }) => visibility === 'debug').map(({ name }) => name);
    expect(published.length - debug.length).toBe(600);
    expect(debug).toHaveLength(4);
    expect(
      [...rpcs]
        .filter(([, { service }]) => service.name === 'DebugService')
        .map(([name]) => name)
        .sort(),
    ).toEqual(debug.sort());
  });

  it('has no others apart from the known ones', () => {
    const others = services
      .filter(({ name }) => !OTHER_SERVICES.includes(name))
      .flatMap(({ methods }) => methods)
      .filter((method) => optionsOf(method) === undefined);
    expect(others.map(({ name }) => name)).toEqual(COMPOSITE);
    expect(
      services
        .filter(({ name }) => OTHER_SERVICES.includes(name))
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...OTHER_SERVICES].sort());
  });

  it('has a file for each service, named after it, of version 1', () => {
    for (const file of files) {
      expect(file.services.length).toBeLessThanOrEqual(1);
      for (const { name } of file.services)
        expect(file.name).toBe(`guestfs/v1/${name.replace(/Service$/, '').toLowerCase()}`);
    }
  });

  it('has lists that can be unset', () => {
    expect(fieldsOf(messageOf('StringList'))).toEqual(['values repeated string = 1']);
  });
});

describe('the RPC of', () => {
  it.each(named)('%s has its name and facts, and streams what is streamed', (name, action) => {
    const { method, option } = rpcOf(action);
    expect(method.name).toBe(rpcName(name));
    expect(method.input.name).toBe(`${rpcName(name)}Request`);
    expect(method.output.name).toBe(`${rpcName(name)}Response`);
    expect({ ...option, $typeName: undefined, $unknown: undefined }).toEqual({
      name,
      procedure: action.procedure,
      since: action.since,
      optionalGroup: action.optionalGroup ?? '',
      progress: action.progress ?? false,
      cancellable: action.cancellable ?? false,
      configOnly: action.configOnly ?? false,
      replacedBy: action.replacedBy ?? '',
    });
    const upload = isFile(action, 'filein');
    const download = isFile(action, 'fileout') || IN_BATCHES.includes(name);
    expect(method.methodKind).toBe(upload ? 'client_streaming' : download ? 'server_streaming' : 'unary');
  });

  it('an action that only reads is marked as one without side effects, and no other', () => {
    const marked = [...rpcs]
      .filter(([, { method }]) => method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS)
      .map(([name]) => name);
    expect(marked.sort()).toEqual(
      published
        .filter(({ mutating }) => !mutating)
        .map(({ name }) => name)
        .sort(),
    );
    expect(
      [...rpcs.values()].filter(({ method }) => method.idempotency === MethodOptions_IdempotencyLevel.IDEMPOTENT),
    ).toEqual([]);
    // A plausibility check: these change something, and those do not.
    for (const changes of ['mkfs', 'write', 'launch', 'set_memsize', 'mount_ro', 'journal_next', 'yara_load'])
      expect(marked).not.toContain(changes);
    for (const reads of ['cat', 'ls', 'download', 'get_memsize', 'inspect_get_type', 'journal_get', 'yara_scan'])
      expect(marked).toContain(reads);
  });

  it('a deprecated action is marked as deprecated, and no other', () => {
    const marked = [...rpcs].filter(([, { method }]) => method.deprecated).map(([name]) => name);
    expect(marked.sort()).toEqual(
      published
        .filter(({ deprecated }) => deprecated)
        .map(({ name }) => name)
        .sort(),
    );
    expect(marked).toEqual(expect.arrayContaining(['add_drive_with_if', 'add_cdrom', 'mkfs_b', 'wait_ready']));
  });
});

describe('the messages of', () => {
  it.each(named)('%s have its arguments and its answer, numbered in their order', (name, action) => {
    const { method } = rpcOf(action);
    if (isFile(action, 'filein')) {
      expect(fieldsOf(method.input)).toEqual([
        `arguments ${rpcName(name)}Arguments = 1 in payload`,
        'chunk bytes = 2 in payload',
      ]);
      expect(fieldsOf(messageOf(`${rpcName(name)}Arguments`))).toEqual([...argumentFields(action), ...UPLOAD_FIELDS]);
    } else {
      expect(fieldsOf(method.input)).toEqual(argumentFields(action));
    }
    expect(fieldsOf(method.output)).toEqual(isFile(action, 'fileout') ? ['chunk bytes = 1'] : returned(action.returns));
  });

  const returnedStructs = structs.filter(({ name }) =>
    published.some(({ returns }) => 'struct' in returns && returns.struct === name),
  );
  it.each(returnedStructs.map((struct) => [struct.name, struct] as const))(
    'struct %s have its fields, numbered in their order',
    (name, { fields }) => {
      expect(fieldsOf(messageOf(rpcName(name)))).toEqual(
        fields.map(
          (field, index) =>
            `${field.name} ${MEMBER[field.type]} = ${index + 1}${field.type === 'optpercent' ? ' optional' : ''}`,
        ),
      );
    },
  );
});
