import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  drivesFromRequest,
  scratchDriveFromRequest,
  type AddDriveOptions,
} from '../../../src/images/addDriveRequest.js';
import type { Drive } from '../../../src/images/drive.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';
import { errorOf, makeScene, openFiles, rawImage, type Scene } from './scene.js';

let scene: Scene;
let roots: ImageRoots;
beforeEach(() => {
  scene = makeScene();
  roots = { directories: [scene.root] };
  rawImage(join(scene.root, 'a.img'), 1024);
});
afterEach(() => scene.remove());

const DEFAULTS = {
  format: undefined,
  readonly: false,
  label: undefined,
  cacheMode: undefined,
  discard: 'disable',
  copyOnRead: false,
  blockSize: undefined,
};

/** The only drive. */
async function driveFromRequest(...request: Parameters<typeof drivesFromRequest>): Promise<Drive> {
  const [drive, ...others] = await drivesFromRequest(...request);
  expect(others).toEqual([]);
  return drive as Drive;
}

describe('drivesFromRequest', () => {
  it('has the defaults of the library', async () => {
    const before = openFiles();
    expect(await driveFromRequest('a.img', {}, roots)).toEqual({
      ...DEFAULTS,
      source: { kind: 'file', path: join(scene.root, 'a.img'), name: 'a.img', roots },
    });
    expect(openFiles()).toBe(before);
  });

  it('takes all options', async () => {
    const options: AddDriveOptions = {
      readonly: false,
      format: 'qcow2',
      iface: 'ide',
      name: 'sdx',
      label: 'LABEL',
      protocol: 'file',
      server: [],
      cachemode: 'unsafe',
      discard: 'enable',
      copyonread: true,
      blocksize: 4096,
    };
    expect(await driveFromRequest('a.img', options, roots)).toMatchObject({
      format: 'qcow2',
      readonly: false,
      label: 'LABEL',
      cacheMode: 'unsafe',
      discard: 'enable',
      copyOnRead: true,
      blockSize: 4096,
    });
  });

  it.each<[string, AddDriveOptions, string, string]>([
    ['discard', { discard: 'unmap' }, 'discard', "'disable', 'enable' or 'besteffort'"],
    ['discard on read-only', { discard: 'enable', readonly: true }, 'discard', 'read-only'],
    ['empty format', { format: '' }, 'format', 'empty'],
    ['format with a comma', { format: 'raw,file=/etc/shadow' }, 'format', 'characters'],
    ['format with a newline', { format: 'raw\n' }, 'format', 'characters'],
    ['empty label', { label: '' }, 'label', 'empty'],
    ['long label', { label: 'x'.repeat(21) }, 'label', 'longer than 20'],
    ['label with a digit', { label: 'a1' }, 'label', 'letters'],
    ['label with a newline', { label: 'a\n' }, 'label', 'letters'],
    ['cachemode', { cachemode: 'none' }, 'cachemode', "'writeback'"],
    ['blocksize', { blocksize: 1024 }, 'blocksize', '512 or 4096'],
    ['negative blocksize', { blocksize: -512 }, 'blocksize', '512 or 4096'],
    ['server', { server: ['localhost'] }, 'server', 'files'],
    ['username', { username: 'root' }, 'username', 'files'],
    ['secret', { secret: 'abc' }, 'secret', 'files'],
    ['unknown protocol', { protocol: 'gopher' }, 'protocol', "'gopher'"],
    ['protocol of Object', { protocol: 'constructor' }, 'protocol', 'unknown'],
  ])('refuses %s', async (_what, options, field, words) => {
    const error = await errorOf(driveFromRequest('a.img', options, roots));
    expect(error).toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: expect.stringContaining(words),
      details: { fields: [{ field }] },
    });
    if (options.secret !== undefined) expect(error.message).not.toContain(options.secret);
  });

  it.each([
    { label: 'x'.repeat(20) },
    { blocksize: 0 },
    { blocksize: 512 },
    { discard: 'besteffort', readonly: true },
    { format: 'vhdx_-9' },
  ])('takes %p', async (options) => {
    await driveFromRequest('a.img', options, roots);
  });

  it.each([
    ['gone.img', 'IMAGE_MISSING'],
    ['', 'IMAGE_UNUSABLE'],
    ['/etc/passwd', 'OUTSIDE_IMAGE_ROOTS'],
    ['/dev/zero', 'OUTSIDE_IMAGE_ROOTS'],
    ['.', 'IMAGE_UNUSABLE'],
  ])('refuses the image %p', async (path, reason) => {
    expect(await errorOf(driveFromRequest(path, {}, roots))).toMatchObject({ reason });
  });

  it('turns /dev/null into a small scratch drive', async () => {
    expect(
      await driveFromRequest(
        '/dev/null',
        { readonly: true, discard: 'besteffort', copyonread: true, label: 'nil' },
        roots,
      ),
    ).toEqual({
      ...DEFAULTS,
      source: { kind: 'scratch', size: 4096n },
      format: 'raw',
      label: 'nil',
    });
    expect(await errorOf(driveFromRequest('/dev/null', { format: 'qcow2' }, roots))).toMatchObject({
      reason: 'BAD_ARGUMENT',
    });
  });
});

describe('scratchDriveFromRequest', () => {
  it('creates a temporary drive', () => {
    expect(scratchDriveFromRequest(5n, { name: 'x', label: 'lab', blocksize: 512 })).toEqual({
      ...DEFAULTS,
      source: { kind: 'scratch', size: 5n },
      format: 'raw',
      cacheMode: 'unsafe',
      label: 'lab',
      blockSize: 512,
    });
  });

  it.each([
    [0n, {}, 'size'],
    [-1n, {}, 'size'],
    [1n, { label: '9' }, 'label'],
    [1n, { blocksize: 1 }, 'blocksize'],
  ])('refuses %s bytes with %p', (size, options, field) => {
    expect(() => scratchDriveFromRequest(size, options)).toThrow(field);
  });
});
