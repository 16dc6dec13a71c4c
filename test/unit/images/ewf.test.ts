/** A real EWF image: refused with a command that makes a disk image of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { recogniseImage } from '../../../src/images/recognise.js';
import { describeWhen } from '../../support/appliance.js';
import { errorOf } from './scene.js';

const isInstalled = (process.env['PATH'] ?? '').split(':').some((path) => existsSync(join(path, 'ewfacquire')));
const LENGTH = 3 << 20;

describeWhen('an E01', isInstalled ? undefined : 'ewf-tools is not installed', () => {
  it('of two segments is refused, and what the error says makes a raw image of it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ewf-'));
    const disk = Buffer.alloc(LENGTH);
    for (let at = 0; at < LENGTH; at += 4) disk.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
    mkdirSync(join(directory, 'from'));
    writeFileSync(join(directory, 'from/disk.img'), disk);
    const run = (command: string, ...args: readonly string[]): void =>
      void execFileSync(command, args, { cwd: directory, stdio: 'pipe' });
    try {
      run('ewfacquire', '-u', '-t', 'image', '-c', 'deflate:none', '-S', '2MiB', 'from/disk.img');
      expect(existsSync(join(directory, 'image.E02'))).toBe(true);
      const handle = await open(join(directory, 'image.E01'));
      const { size } = await handle.stat({ bigint: true });
      const error = await errorOf(recogniseImage({ handle, size }, undefined, "image 'image.E01'"));
      await handle.close();
      expect(error.message).toContain("image 'image.E01' is an EWF image (E01), not a disk image");
      const [, command = ''] = /"(ewfexport [^"]*) FILE"/.exec(error.message) ?? [];
      const [program = '', ...options] = command.split(' ');
      run(program, ...options, 'image.E01');
      expect(readFileSync(join(directory, 'disk.raw')).equals(disk)).toBe(true);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
