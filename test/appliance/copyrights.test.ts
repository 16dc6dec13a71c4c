/** An appliance has the copyright file of each package of which it contains files. */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { installCopyrights } from '../../appliance-builder/copyrights.js';

describe('copyright files of unpacked packages', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'copyrights-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('are installed in the root file system, without the rest of the documentation', async () => {
    const documentation = join(directory, 'tree', 'usr/share/doc');
    await mkdir(join(documentation, 'kernel'), { recursive: true });
    await writeFile(join(documentation, 'kernel', 'copyright'), 'GPL-2');
    await writeFile(join(documentation, 'kernel', 'changelog.gz'), '');
    await symlink('package-elsewhere', join(documentation, 'kernel-modules'));
    await installCopyrights([join(directory, 'tree')], join(directory, 'root'));
    const installed = join(directory, 'root', 'usr/share/doc');
    expect(await readdir(installed)).toEqual(['kernel']);
    expect(await readdir(join(installed, 'kernel'))).toEqual(['copyright']);
    expect(await readFile(join(installed, 'kernel', 'copyright'), 'utf8')).toBe('GPL-2');
  });

  it('must exist', async () => {
    await mkdir(join(directory, 'tree', 'usr/share/doc', 'kernel'), { recursive: true });
    await expect(installCopyrights([join(directory, 'tree')], join(directory, 'root'))).rejects.toThrow(
      'there is no copyright file in',
    );
  });
});
