import { describe, expect, it } from '@jest/globals';
import { forensicsActions } from '../../../src/library/forensics.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { all, inTurn } from './fakes.js';

function dirent(inode: number, name: string): Buffer {
  const writer = new XdrEncoder();
  writer.int64(BigInt(inode));
  writer.int('r'.charCodeAt(0));
  writer.int64(-1n);
  writer.string(name);
  writer.int(1);
  for (let field = 0; field < 9; field += 1) writer.int64(BigInt(field));
  writer.string('');
  writer.int64(0n);
  return writer.finish();
}

function detection(name: string, rule: string): Buffer {
  const writer = new XdrEncoder();
  writer.string(name);
  writer.string(rule);
  return writer.finish();
}

describe('filesystem_walk and find_inode', () => {
  const files = {
    internal_filesystem_walk: () => [dirent(5, 'etc'), dirent(0, 'gone')],
    internal_find_inode: () => [dirent(5, 'etc')],
  };

  it('return what the daemon finds', async () => {
    const context = inTurn('filesystem_walk', { files });
    const found = (await all(forensicsActions.filesystem_walk(context, { device: '/dev/sda1' }))).flatMap(
      ({ dirents }) => dirents,
    );
    expect(
      found.map(({ tsk_inode, tsk_type, tsk_size, tsk_name, tsk_flags, tsk_nlink }) => [
        tsk_inode,
        tsk_type,
        tsk_size,
        tsk_name,
        tsk_flags,
        tsk_nlink,
      ]),
    ).toEqual([
      [5n, 'r', -1n, 'etc', 1, 8n],
      [0n, 'r', -1n, 'gone', 1, 8n],
    ]);
    const [{ dirents } = { dirents: [] }] = await all(
      forensicsActions.find_inode(context, { device: '/dev/sda1', inode: 5n }),
    );
    expect(dirents.map(({ tsk_name }) => tsk_name)).toEqual(['etc']);
    expect(context.daemon.sent).toEqual([
      { action: 'internal_filesystem_walk', request: { device: '/dev/sda1' } },
      { action: 'internal_find_inode', request: { device: '/dev/sda1', inode: 5n } },
    ]);
  });
});

describe('yara_scan', () => {
  it('returns the matches', async () => {
    const context = inTurn('yara_scan', {
      files: { internal_yara_scan: () => [detection('/a', 'One'), detection('/a', 'Two')] },
    });
    const found = (await all(forensicsActions.yara_scan(context, { path: '/a' }))).flatMap(
      ({ detections }) => detections,
    );
    expect(found).toEqual([
      { yara_name: '/a', yara_rule: 'One' },
      { yara_name: '/a', yara_rule: 'Two' },
    ]);
  });
});
