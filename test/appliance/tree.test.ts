import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { removeTree } from '../../appliance-builder/tree.js';
import { itWhen } from '../support/itWhen.js';

describe('removeTree', () => {
  it('removes a tree, and accepts a missing one', async () => {
    const tree = mkdtempSync(join(tmpdir(), 'guestfs-grpc-tree-'));
    writeFileSync(join(tree, 'file'), '');
    await removeTree(tree);
    await removeTree(tree);
    expect(existsSync(tree)).toBe(false);
  });

  itWhen('mounts of a killed build', process.geteuid?.() === 0 ? undefined : 'it takes root')(
    'unmounts what a killed build left mounted, and does not change its content',
    async () => {
      const [tree, kept] = [
        mkdtempSync(join(tmpdir(), 'guestfs-grpc-tree-')),
        mkdtempSync(join(tmpdir(), 'guestfs-grpc-kept-')),
      ];
      writeFileSync(join(kept, 'file'), '');
      mkdirSync(join(tree, 'root', 'a name'), { recursive: true });
      execFileSync('mount', ['--bind', kept, join(tree, 'root', 'a name')]);
      await removeTree(tree);
      expect(existsSync(tree)).toBe(false);
      expect(existsSync(join(kept, 'file'))).toBe(true);
      await removeTree(kept);
    },
  );
});
