import { describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import type { ActionDef } from '../../../src/actions/types.js';
import { checkArguments } from '../../../src/server/checkArguments.js';

function action(name: string): ActionDef {
  const found = allActions.find((candidate) => candidate.name === name);
  if (!found) throw new Error(name);
  return found;
}

describe('checkArguments', () => {
  it('takes ordinary arguments, and buffers with NULs', () => {
    checkArguments(action('write'), { path: '/x', content: Buffer.of(0, 1) });
    checkArguments(action('vgcreate'), { volgroup: 'VG', physvols: ['/dev/sda1'] });
    checkArguments(action('add_drive'), { filename: 'x', server: undefined });
  });

  it.each([
    ['a string', 'mkdir', { path: '/a\0b' }, 'path'],
    ['an element of a list', 'vgcreate', { volgroup: 'VG', physvols: ['/dev/sda1', 'x\0'] }, 'physvols[1]'],
    ['an optional string', 'add_drive', { filename: 'x', label: '\0' }, 'label'],
    ['an element of an optional list', 'add_drive', { filename: 'x', server: { values: ['\0'] } }, 'server[0]'],
    ['a nullable string', 'aug_defvar', { name: 'x', expr: 'a\0' }, 'expr'],
  ])('refuses a NUL in %s, naming the field', (_what, name, request, field) => {
    expect(() => checkArguments(action(name), request)).toThrow(
      expect.objectContaining({ reason: 'BAD_ARGUMENT', message: expect.stringContaining(field) }),
    );
  });

  it.each([
    ['part_set_gpt_guid', { device: '/dev/sda', partnum: 1, guid: '21EC2020-3AEA-1069-A2DD-08002B30309D' }],
    ['part_set_gpt_guid', { device: '/dev/sda', partnum: 1, guid: '{21ec2020-3aea-1069-a2dd-08002b30309d}' }],
    ['lstatnslist', { path: '/', names: ['a', '..', ''] }],
  ])('takes what the library takes: %s %j', (name, request) => {
    expect(() => checkArguments(action(name), request)).not.toThrow();
  });

  it('takes and refuses values that the daemon would answer without reading the file', () => {
    const upload = (offset: bigint) => () => checkArguments(action('upload_offset'), { remotefilename: '/f', offset });
    const unpack = (compress?: string) => () => checkArguments(action('tar_in'), { directory: '/', compress });
    for (const good of [upload(0n), upload(1n << 40n), unpack(), unpack('zstd')]) expect(good).not.toThrow();
    expect(upload(-1n)).toThrow('offset: must not be negative');
    expect(unpack('rar')).toThrow("compress: 'rar' is not one of compress, gzip, bzip2, xz, lzop, lzma, zstd");
    expect(unpack('')).toThrow('compress');
  });

  it.each([
    ['part_set_gpt_guid', { device: '/dev/sda', partnum: 1, guid: 'nonsense' }, 'guid'],
    ['part_set_gpt_guid', { device: '/dev/sda', partnum: 1, guid: '{21EC2020-3AEA-1069-A2DD-08002B30309D' }, 'guid'],
    ['part_set_gpt_type', { device: '/dev/sda', partnum: 1, guid: '21EC2020-3AEA-1069-A2DD-08002B30309D}' }, 'guid'],
    ['lstatnslist', { path: '/', names: ['a', 'b/c'] }, 'names'],
  ])('refuses what the library refuses: %s %j', (name, request, field) => {
    expect(() => checkArguments(action(name), request)).toThrow(
      expect.objectContaining({ reason: 'BAD_ARGUMENT', message: expect.stringContaining(field) }),
    );
  });
});
