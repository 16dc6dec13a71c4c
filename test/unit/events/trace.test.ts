import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { structs } from '../../../src/actions/structs.js';
import type { ActionDef, FieldType } from '../../../src/actions/types.js';
import { TRACE_LIMIT, traceCall, traceError, traceResult } from '../../../src/events/trace.js';

const actionsByName = new Map(allActions.map((action) => [action.name, action]));

function action(name: string): ActionDef {
  const found = actionsByName.get(name);
  if (!found) throw new Error(`no action ${name}`);
  return found;
}

/** The return value under its name. */
function response(name: string, value: unknown): object {
  const { returns } = action(name);
  return returns.type === 'err' ? {} : { [returns.name]: value };
}

describe('the trace of a call', () => {
  it.each<[string, object, string]>([
    ['mkdir', { path: '/foo' }, 'mkdir "/foo"'],
    ['sync', {}, 'sync'],
    ['cp', { src: '/a b', dest: '/c"d' }, 'cp "/a b" "/c"d"'],
    ['lvcreate', { logvol: 'LV', volgroup: 'VG', mbytes: 64 }, 'lvcreate "LV" "VG" 64'],
    ['truncate_size', { path: '/a', size: 2n ** 40n }, 'truncate_size "/a" 1099511627776'],
    ['set_autosync', { autosync: true }, 'set_autosync true'],
    ['set_autosync', { autosync: false }, 'set_autosync false'],
    ['aug_defvar', { name: 'n', expr: 'e' }, 'aug_defvar "n" "e"'],
    ['aug_defvar', { name: 'n', expr: undefined }, 'aug_defvar "n" null'],
    ['aug_defvar', { name: 'n', expr: '' }, 'aug_defvar "n" ""'],
    ['command', { arguments: ['ls', '-l', '/'] }, 'command "ls -l /"'],
    ['command', { arguments: [] }, 'command ""'],
    [
      'mkfs',
      { fstype: 'ext4', device: '/dev/sda1', blocksize: 1024, label: 'L' },
      'mkfs "ext4" "/dev/sda1" "blocksize:1024" "label:L"',
    ],
    [
      'tar_out',
      { directory: '/', numericowner: false, excludes: { values: ['a', 'b*'] }, tarfile: undefined },
      'tar_out "/" "-" "numericowner:false" "excludes:a b*"',
    ],
    ['tar_out', { directory: '/', excludes: { values: [] } }, 'tar_out "/" "-" "excludes:"'],
    [
      'copy_file_to_file',
      { src: '/a', dest: '/b', size: 0n, sparse: true },
      'copy_file_to_file "/a" "/b" "size:0" "sparse:true"',
    ],
    ['write', { path: '/a', content: Buffer.from('line 1\nü\0') }, 'write "/a" "line 1\\x0a\\xc3\\xbc\\x00"'],
    ['write', { path: '/a', content: Buffer.alloc(0) }, 'write "/a" ""'],
    ['upload', { remotefilename: '/a' }, 'upload "-" "/a"'],
    ['download', { remotefilename: '/a' }, 'download "/a" "-"'],
  ])('%s', (name, request, expected) => {
    expect(traceCall(action(name), request)).toBe(expected);
  });

  it('truncates a buffer after 256 bytes, and shows its size', () => {
    const content = Buffer.alloc(1000, 'x');
    expect(traceCall(action('write'), { path: '/a', content })).toBe(
      `write "/a" "${'x'.repeat(256)}"<truncated, original size 1000 bytes>`,
    );
    expect(traceCall(action('write'), { path: '/a', content: content.subarray(0, 256) })).toBe(
      `write "/a" "${'x'.repeat(256)}"`,
    );
  });

  it.each([
    ['luks_open', { device: '/dev/sda1', key: 'open sesame', mapname: 'm' }, 'luks_open "/dev/sda1" "***" "m"'],
    [
      'luks_add_key',
      { device: '/dev/sda1', key: 'open sesame', newkey: 'open sesame', keyslot: 1 },
      'luks_add_key "/dev/sda1" "***" "***" 1',
    ],
    [
      'cryptsetup_open',
      { device: '/dev/sda1', key: 'open sesame', mapname: 'm', readonly: true },
      'cryptsetup_open "/dev/sda1" "***" "m" "readonly:true"',
    ],
    [
      'add_drive',
      { filename: 'pool/disk', secret: 'open sesame', username: 'admin' },
      'add_drive "pool/disk" "username:admin" "secret:***"',
    ],
  ])('never shows a key: %s', (name, request, expected) => {
    expect(traceCall(action(name), request)).toBe(expected);
  });

  it('shows no key argument of any action', () => {
    const keyed = allActions.filter((candidate) =>
      candidate.args.some((argument) => argument.type === 'string' && argument.kind === 'key'),
    );
    expect(keyed.length).toBeGreaterThanOrEqual(7);
    for (const candidate of keyed) {
      const request = Object.fromEntries(
        candidate.args.map((argument) => [
          argument.name,
          argument.type === 'string' && argument.kind === 'key' ? 'open sesame' : undefined,
        ]),
      );
      expect(traceCall(candidate, request)).not.toContain('sesame');
    }
  });

  it('escapes control characters, line separators and direction marks', () => {
    expect(
      traceCall(action('mkdir'), { path: '/a\nb\tc\u001b[2J\u0000\u007f\u0085\u2028\u202e\u2066é日\u{1f600}' }),
    ).toBe('mkdir "/a\\x0ab\\x09c\\x1b[2J\\x00\\x7f\\x85\\u2028\\u202e\\u2066é日\u{1f600}"');
  });
});

describe('the trace of a result', () => {
  it.each<[string, unknown, string]>([
    ['mkdir', undefined, 'mkdir = 0'],
    ['is_dir', true, 'is_dir = 1'],
    ['is_dir', false, 'is_dir = 0'],
    ['get_memsize', 1024, 'get_memsize = 1024'],
    ['umask', -1, 'umask = -1'],
    ['filesize', 2n ** 40n, 'filesize = 1099511627776'],
    ['cat', 'a\nb', 'cat = "a\\x0ab"'],
    ['get_path', '/usr/lib/guestfs', 'get_path = "/usr/lib/guestfs"'],
    ['get_append', undefined, 'get_append = "NULL"'],
    ['get_append', 'quiet', 'get_append = "quiet"'],
    ['read_file', Buffer.from('a\0b'), 'read_file = "a\\x00b"'],
    ['list_devices', ['/dev/sda', '/dev/sdb'], 'list_devices = ["/dev/sda", "/dev/sdb"]'],
    ['list_devices', [], 'list_devices = []'],
    [
      'list_filesystems',
      new Map([
        ['/dev/sda1', 'ext4'],
        ['/dev/sda2', 'swap'],
      ]),
      'list_filesystems = ["/dev/sda1", "ext4", "/dev/sda2", "swap"]',
    ],
    [
      'version',
      { major: 1n, minor: 54n, release: 1n, extra: '' },
      'version = <struct guestfs_version = major: 1, minor: 54, release: 1, extra: , >',
    ],
    ['part_list', [], 'part_list = <struct guestfs_partition_list(0)>'],
    [
      'part_list',
      [
        { part_num: 1, part_start: 0n, part_end: 9n, part_size: 10n },
        { part_num: 2, part_start: 10n, part_end: 19n, part_size: 10n },
      ],
      'part_list = <struct guestfs_partition_list(2) = [0]{part_num: 1, part_start: 0, part_end: 9, part_size: 10, } [1]{part_num: 2, part_start: 10, part_end: 19, part_size: 10, }>',
    ],
    [
      'lgetxattrs',
      [{ attrname: 'user.a', attrval: Buffer.of(0x41, 0xff) }],
      'lgetxattrs = <struct guestfs_xattr_list(1) = [0]{attrname: user.a, attrval: A\\xff, }>',
    ],
    ['ls', undefined, 'ls = <stream>'],
    ['download', undefined, 'download = 0'],
  ])('%s', (name, value, expected) => {
    expect(traceResult(action(name), response(name, value))).toBe(expected);
  });

  it('shows a percentage, or nothing if it is absent', () => {
    const lvs = [{ lv_name: 'LV', lv_uuid: 'x'.repeat(32), snap_percent: 12.5, copy_percent: undefined }];
    const line = traceResult(action('lvs_full'), { logvols: lvs });
    expect(line).toContain('snap_percent: 12.5 %, copy_percent: , ');
    expect(line).toContain(`lv_uuid: ${'x'.repeat(32)}, `);
    expect(traceResult(action('lvs_full'), { logvols: [{ snap_percent: 100 / 3 }] })).toContain(
      'snap_percent: 33.3333 %, ',
    );
  });

  it.each([undefined, null, 'text', 7])('of a stream can be anything: %p', (value) => {
    expect(traceResult(action('find'), value)).toBe('find = <stream>');
    expect(traceResult(action('tar_out'), value)).toBe('tar_out = 0');
  });

  it.each([
    ['mkdir', 'mkdir = -1 (error)'],
    ['is_dir', 'is_dir = -1 (error)'],
    ['filesize', 'filesize = -1 (error)'],
    ['umask', 'umask = -1 (error)'],
    ['cat', 'cat = NULL (error)'],
    ['ls', 'ls = NULL (error)'],
    ['stat', 'stat = NULL (error)'],
    ['part_list', 'part_list = NULL (error)'],
    ['list_filesystems', 'list_filesystems = NULL (error)'],
    ['read_file', 'read_file = NULL (error)'],
    ['get_path', 'get_path = NULL (error)'],
  ])('that is an error: %s', (name, expected) => {
    expect(traceError(action(name))).toBe(expected);
  });
});

describe('the trace of any action', () => {
  const LONG = 'long \u0007 '.repeat(10_000);

  function argumentValue(type: string): unknown {
    switch (type) {
      case 'string':
      case 'opt_string':
        return LONG;
      case 'string_list':
        return Array.from({ length: 5000 }, () => LONG);
      case 'buffer':
        return Buffer.alloc(100_000, 7);
      case 'bool':
        return true;
      case 'int':
        return -1;
      case 'int64':
        return -1n;
      default:
        return undefined;
    }
  }

  function fieldValue(type: FieldType): unknown {
    switch (type) {
      case 'buffer':
        return Buffer.alloc(100_000, 7);
      case 'int32':
      case 'uint32':
        return 1;
      case 'int64':
      case 'uint64':
      case 'bytes':
        return 1n;
      case 'optpercent':
        return 0.5;
      default:
        return LONG;
    }
  }

  function structValue(name: string): object {
    return Object.fromEntries(
      (structs.find((struct) => struct.name === name)?.fields ?? []).map((field) => [
        field.name,
        fieldValue(field.type),
      ]),
    );
  }

  function returnValue(candidate: ActionDef): unknown {
    const { returns } = candidate;
    switch (returns.type) {
      case 'err':
        return undefined;
      case 'bool':
        return true;
      case 'int':
        return 1;
      case 'int64':
        return 1n;
      case 'buffer':
        return Buffer.alloc(100_000, 7);
      case 'string_list':
        return Array.from({ length: 5000 }, () => LONG);
      case 'hashtable':
        return new Map([[LONG, LONG]]);
      case 'struct':
        return structValue(returns.struct);
      case 'struct_list':
        return new Array<object>(5000).fill(structValue(returns.struct));
      default:
        return LONG;
    }
  }

  it('is one line of bounded length without control characters, however large its values', () => {
    for (const candidate of allActions) {
      const request = Object.fromEntries([
        ...candidate.args.map((argument) => [argument.name, argumentValue(argument.type)]),
        ...candidate.optargs.map((argument) => [
          argument.name,
          argument.type === 'string_list' ? { values: argumentValue('string_list') } : argumentValue(argument.type),
        ]),
      ]) as object;
      const { returns } = candidate;
      const lines = [
        traceCall(candidate, request),
        traceResult(candidate, returns.type === 'err' ? {} : { [returns.name]: returnValue(candidate) }),
        traceError(candidate),
      ];
      for (const line of lines) {
        expect(line.startsWith(candidate.name)).toBe(true);
        expect(line.length).toBeLessThanOrEqual(TRACE_LIMIT + '<truncated>'.length);
        expect(line).not.toMatch(/\p{Cc}/u);
        expect(line).not.toMatch(/undefined|\[object|NaN/);
      }
    }
  });

  it('shows that it was truncated', () => {
    const line = traceCall(action('mkdir'), { path: 'x'.repeat(10_000) });
    expect(line).toBe(`${'mkdir "'.padEnd(TRACE_LIMIT, 'x')}<truncated>`);
    expect(traceCall(action('mkdir'), { path: 'x'.repeat(TRACE_LIMIT - 'mkdir ""'.length) })).toHaveLength(TRACE_LIMIT);
  });

  it('stays well-formed where it was truncated', () => {
    for (let shift = 0; shift < 4; shift += 1) {
      expect(traceCall(action('mkdir'), { path: 'x'.repeat(shift) + '\u{1f600}'.repeat(10_000) }).isWellFormed()).toBe(
        true,
      );
    }
  });
});
