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
    expect(() => checkArguments(action(name), request)).toThrow(expect.objectContaining({ reason: 'BAD_ARGUMENT', message: expect.stringContaining(field) }));
  });
});
