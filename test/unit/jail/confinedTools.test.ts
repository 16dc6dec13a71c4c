/** The server's helpers can do their work although they are confined, with and without namespaces. */
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDisk } from '../../../src/images/createDisk.js';
import { createForeignProbe } from '../../../src/images/foreignProbe.js';
import { findIsolation, overrideIsolation } from '../../../src/jail/isolation.js';
import { startPacking, startUnpacking, takeOver } from '../../../src/library/hostCopy/tarProcess.js';
import { createQemuUsers } from '../../../src/qemu/qemuUsers.js';
import { run } from '../../support/diskImages.js';

const isRoot = process.geteuid?.() === 0;
const { signal } = new AbortController();
let scene: string;
beforeEach(() => {
  scene = mkdtempSync(join(tmpdir(), 'confined-'));
});
afterEach(() => {
  overrideIsolation(undefined);
  rmSync(scene, { recursive: true });
});

describe.each(['landlock', 'namespaces', 'namespaces of a server that is not root'] as const)(
  'confined by %s',
  (kind) => {
    beforeEach(async () => {
      const found = await findIsolation();
      if (kind === 'landlock') overrideIsolation({ kind, as: isRoot ? 'root' : 'user', reason: 'a test' });
      else if (kind !== 'namespaces' && found.kind === 'namespaces') overrideIsolation({ ...found, as: 'user' });
    });

    it('tar packs and unpacks', async () => {
      // A root server unpacks as another user, which it can only become in a jail of its own kind.
      if (isRoot && kind === 'namespaces of a server that is not root') return;
      const [from, to] = [join(scene, 'from'), join(scene, 'to')];
      mkdirSync(join(from, 'tree', 'below'), { recursive: true });
      mkdirSync(to);
      writeFileSync(join(from, 'tree', 'below', 'file'), 'contents', { mode: 0o640 });
      symlinkSync('below/file', join(from, 'tree', 'link'));
      const source = openSync(from, 'r');
      const packing = await startPacking(source, 'tree');
      // What it has written is kept until somebody reads it.
      await packing.process.exited;
      const target = await open(to, 'r');
      const unpacking = await startUnpacking(target);
      packing.output.pipe(
        unpacking.process.channels[0] as NodeJS.WritableStream & (typeof unpacking)['process']['channels'][0],
      );
      await Promise.all([packing.finish(), unpacking.finish()]);
      await takeOver(target, signal);
      closeSync(source);
      await target.close();
      expect(readFileSync(join(to, 'tree', 'link'), 'utf8')).toBe('contents');
      expect(lstatSync(join(to, 'tree', 'below', 'file')).uid).toBe(process.getuid?.());
    });

    it('qemu creates disks, and probes them', async () => {
      const context = { imageRoots: { directories: [scene] }, signal };
      const path = join(scene, 'a.qcow2');
      await createDisk({ filename: path, format: 'qcow2', size: 1n << 30n, preallocation: 'metadata' }, context);
      await createDisk(
        { filename: join(scene, 'b.img'), format: 'raw', size: 1n << 20n, preallocation: 'full' },
        context,
      );
      run('qemu-img', 'convert', '-f', 'raw', '-O', 'vdi', join(scene, 'b.img'), join(scene, 'c.vdi'));
      const probe = createForeignProbe({ qemuBinary: 'qemu-system-x86_64', users: createQemuUsers() });
      const handle = await open(join(scene, 'c.vdi'));
      try {
        const { size } = await handle.stat();
        const head = readFileSync(join(scene, 'c.vdi')).subarray(0, 65_536);
        expect(await probe({ handle, kind: 'file', size: BigInt(size), head }, 'vdi', 'image', signal)).toBe(1n << 20n);
      } finally {
        await handle.close();
      }
    });
  },
);
