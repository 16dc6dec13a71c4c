import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { findProgram } from '../../../src/jail/programFiles.js';

let scene: string;
beforeEach(() => {
  scene = realpathSync(mkdtempSync(join(tmpdir(), 'program-files-')));
});
afterEach(() => rmSync(scene, { recursive: true }));

const pathsOf = async (name: string, kind: 'tool' | 'qemu' | 'python' = 'tool'): Promise<string[]> =>
  (await findProgram(name, kind)).places.map(({ path }) => path);
const put = (path: string, contents?: string): string => {
  mkdirSync(join(path, '..'), { recursive: true });
  if (contents === undefined) copyFileSync('/bin/true', path);
  else writeFileSync(path, contents);
  chmodSync(path, 0o755);
  return path;
};

describe('the files of a program', () => {
  it('of the system are itself and its libraries, and for qemu its firmware', async () => {
    const tool = await pathsOf('true');
    expect(tool).toContain(realpathSync('/bin/true'));
    expect(tool).not.toContain('/usr');
    expect(tool.filter((path) => /^\/(etc|home|root|run|var)\b/.test(path))).toEqual(['/etc/ld.so.cache']);
    expect(await pathsOf('true', 'qemu')).toEqual(expect.arrayContaining([...tool, '/usr/share/qemu']));
  });

  it('of a script elsewhere are all programs of the system, and itself', async () => {
    const script = put(join(scene, 'qemu'), '#!/bin/sh\n');
    expect(await pathsOf(script)).toEqual(expect.arrayContaining(['/usr', '/lib', '/bin', script]));
    expect(await pathsOf(script)).not.toContain(scene);
  });

  it('of a build tree, or of an installation elsewhere, are around it', async () => {
    expect(await pathsOf(put(join(scene, 'build', 'qemu')))).toContain(join(scene, 'build'));
    expect(await pathsOf(put(join(scene, 'opt', 'bin', 'qemu')))).toContain(join(scene, 'opt'));
  });

  it('are never an entire system directory', async () => {
    const program = put(join('/tmp', `qemu-${process.pid}`));
    try {
      expect(await pathsOf(program)).toContain(program);
      expect(await pathsOf(program)).not.toContain('/tmp');
    } finally {
      rmSync(program);
    }
  });

  it('are not found if the program does not exist', async () => {
    await expect(findProgram(join(scene, 'none'), 'tool')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
