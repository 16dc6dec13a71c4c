/**
 * Values for the examples of the reference, such as one would give. They are true of one guest:
 * `/dev/sda1` is mounted on `/`, `/dev/sdb` is there to be overwritten, and what else an action
 * needs is there as well. test/integration/examples.test.ts sends each of them to such a guest.
 */
import { isFileIn } from '../actions/shape.js';
import type { ActionDef, ArgumentDef } from '../actions/types.js';
import { EXAMPLES } from './examples.js';
import { FILES } from './exampleFiles.js';
import { fieldArguments } from './shape.js';

type Json = string | number | boolean | readonly string[] | { readonly values: readonly string[] };
type Request = Readonly<Record<string, Json>>;

/** By the argument's name, where that says what is meant in whatever action. */
const BY_NAME: Request = {
  acltype: 'access',
  augpath: '/files/etc/hosts/1',
  c: 0,
  csumtype: 'sha256',
  ctype: 'gzip',
  cyls: 0,
  devmajor: 8,
  devminor: 1,
  fstype: 'ext4',
  groups: ['lvm2', 'ntfs3g'],
  heads: 0,
  index: 0,
  keyslot: 0,
  label: 'data',
  len: 1048576,
  logvol: 'root',
  mapname: 'opened',
  name: 'data',
  names: ['hostname', 'hosts'],
  newkey: 'another secret',
  offset: '0',
  partnum: 1,
  pattern: 'root',
  percent: 50,
  regex: '^root:',
  sectors: 0,
  specfile: '/etc/selinux/targeted/contexts/files/file_contexts',
  target: '/etc/hosts',
  tmpl: '/tmp/XXXXXX',
  uuid: '7d2c3a64-90f3-4f0d-a7b8-5d0f2f1f6a3e',
  vg: 'group',
  vgname: 'group',
  volgroup: 'group',
  volgroups: ['group'],
  xattr: 'user.comment',
};

/** By what a string stands for. */
const BY_KIND: Readonly<Record<string, string>> = {
  pathname: '/etc/hostname',
  dev_or_path: '/etc/hostname',
  key: 'secret',
  guid: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
};

/** By name and kind: directories of the guest. */
const DIRECTORIES: Readonly<Record<string, string>> = {
  dir: '/etc',
  directory: '/etc',
  remotedir: '/srv',
  mountpoint: '/',
  root: '/',
  linkname: '/tmp/link',
};

/** "hello" */
const BYTES = 'aGVsbG8=';

/** What is changed is not what the guest lives on. */
function deviceFor({ name, mutating }: ActionDef): string {
  const disk = mutating ? '/dev/sdb' : '/dev/sda';
  return /^(part_|sfdisk)/.test(name) ? disk : `${disk}1`;
}

function defaultOf(action: ActionDef, argument: ArgumentDef): Json | undefined {
  const { name } = argument;
  const kind = 'kind' in argument ? argument.kind : 'plain';
  if (kind === 'pathname' && name in DIRECTORIES) return DIRECTORIES[name];
  if ((kind === 'device' || kind === 'mountable') && argument.type === 'string') return deviceFor(action);
  if (name in BY_NAME) return BY_NAME[name];
  if (argument.type === 'buffer') return BYTES;
  return argument.type === 'string' ? BY_KIND[kind] : undefined;
}

/**
 * Arguments of an action in protobuf's JSON: all that are required, and optional ones where the
 * call makes no sense without.
 * @throws Error for an argument without a value: the example would say nothing
 */
export function exampleRequest(action: ActionDef): Request {
  const own: Request = EXAMPLES[action.name] ?? {};
  const names = [...fieldArguments(action), ...action.optargs].map(({ name }) => name);
  const unknown = Object.keys(own).filter((name) => !names.includes(name));
  if (unknown.length > 0)
    throw new Error(`the example of ${action.name} has ${unknown.join(' and ')}, which the action has not`);
  const values = fieldArguments(action).map((argument) => {
    const value = own[argument.name] ?? (argument.type === 'opt_string' ? undefined : defaultOf(action, argument));
    if (value === undefined && argument.type !== 'opt_string')
      throw new Error(`the example of ${action.name} has no value for ${argument.name}`);
    return [argument.name, value] as const;
  });
  const optional = action.optargs.map(({ name }) => [name, own[name]] as const);
  return Object.fromEntries(
    [...values, ...optional].filter((entry): entry is [string, Json] => entry[1] !== undefined),
  );
}

/** What the example of an action sends as a file. */
export function exampleFile(action: ActionDef): Buffer {
  if (!isFileIn(action)) throw new Error(`${action.name} takes no file`);
  return FILES[action.name] ?? Buffer.from('hello\n');
}
