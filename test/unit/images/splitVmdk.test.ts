/** VMDK whose parts are in several files: what is opened, and what is refused. */
import { open } from 'node:fs/promises';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { BadImageHeader } from '../../../src/images/badImageHeader.js';
import { openImageChain } from '../../../src/images/imageChain.js';
import { ImageClaims, ImageUses } from '../../../src/images/imageUses.js';
import { MappingBudget, writeCover } from '../../../src/images/mappedFile.js';
import { prepareDrives } from '../../../src/images/prepareDrives.js';
import { parseVmdkDescriptor } from '../../../src/images/vmdkDescriptor.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';
import { longestTurn, processorTime } from '../../support/loopTime.js';
import { errorOf, fileDrive, makeScene, openFiles, qcow2Image, qemuImg, type Scene } from './scene.js';

let scene: Scene;
let roots: ImageRoots;
beforeEach(() => {
  scene = makeScene();
  roots = { directories: [scene.root], backingFiles: true };
});
afterEach(() => scene.remove());

const inRoot = (name: string): string => join(scene.root, name);

/** What each file is used for, in the order of the chain. */
async function usesOf(path: string): Promise<readonly (readonly [path: string, use: string])[]> {
  const uses: [string, string][] = [];
  const chain = await openImageChain(path, 'vmdk', 'read-only', roots, (image, use) => uses.push([image.path, use]));
  await chain.close();
  return uses;
}

async function refusal(path: string, format?: string): Promise<{ reason: string; message: string }> {
  const before = openFiles();
  const context = {
    ...{ runDirectory: scene.run, qemuBinary: '/nosuch/qemu', claims: new ImageClaims(new ImageUses()) },
    ...{ signal: new AbortController().signal, fdSets: { add: () => '/dev/fdset/1', connect: () => '' } },
  };
  const error = await errorOf(
    prepareDrives([fileDrive(path, { format, source: { kind: 'file', path, name: path, roots } })], context),
  );
  expect(openFiles()).toBe(before);
  return error;
}

const text = (lines: readonly string[], more = 'parentCID=ffffffff'): string =>
  `# Disk DescriptorFile\nversion=1\nCID=12ab34cd\n${more}\ncreateType="twoGbMaxExtentFlat"\n${lines.join('\n')}\n`;

/** A sparse extent of 1 MiB without any grain, with some fields changed. */
function sparse(change: (image: Buffer) => void = () => undefined): Buffer {
  const image = Buffer.alloc(65536);
  image.write('KDMV');
  image.writeUInt32LE(1, 4);
  image.writeBigUInt64LE(2048n, 12);
  image.writeBigUInt64LE(128n, 20);
  image.writeUInt32LE(512, 44);
  image.writeBigUInt64LE(1n, 56);
  image.writeUInt32LE(2, 512);
  change(image);
  return image;
}

describe('a VMDK in several files', () => {
  it('has each of them opened under the image roots, and claimed for what it is', async () => {
    mkdirSync(inRoot('parts'));
    writeFileSync(inRoot('parts/f.vmdk'), Buffer.alloc(1 << 20));
    writeFileSync(inRoot('s.vmdk'), sparse());
    symlinkSync('parts', inRoot('way'));
    writeFileSync(inRoot('base.vmdk'), text(['RW 2048 FLAT "way/f.vmdk" 0', 'RW 2048 SPARSE "s.vmdk"']));
    writeFileSync(
      inRoot('top.vmdk'),
      text(['RW 4096 FLAT "parts/g.vmdk" 0'], 'parentCID=12AB34CD\nparentFileNameHint="base.vmdk"'),
    );
    writeFileSync(inRoot('parts/g.vmdk'), Buffer.alloc(2 << 20));
    expect(await usesOf('top.vmdk')).toEqual([
      [inRoot('top.vmdk'), 'format read'],
      [inRoot('parts/g.vmdk'), 'raw read'],
      [inRoot('base.vmdk'), 'format read'],
      [inRoot('parts/f.vmdk'), 'raw read'],
      [inRoot('s.vmdk'), 'format read'],
    ]);
  });

  it('is refused where images must be complete in one file, and if its format is not stated', async () => {
    writeFileSync(inRoot('a.vmdk'), text(['RW 1 SPARSE "s.vmdk"']));
    expect(await refusal('a.vmdk')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining("refers to another file, 's.vmdk', and its format was not stated"),
    });
    roots = { directories: [scene.root] };
    expect(await refusal('a.vmdk', 'vmdk')).toMatchObject({ reason: 'NOT_ALLOWED' });
    // A snapshot in one file is no different.
    writeFileSync(inRoot('s.vmdk'), sparse(withParent('base.vmdk')));
    expect(await refusal('s.vmdk', 'vmdk')).toMatchObject({ reason: 'NOT_ALLOWED' });
  });

  it.each([
    ['outside, as an extent', 'RW 1 SPARSE "OUTSIDE"', '', 'OUTSIDE_IMAGE_ROOTS'],
    ['outside, by dots', 'RW 1 FLAT "../out/secret" 0\nRW 1 FLAT "../out/secret" 0', '', 'OUTSIDE_IMAGE_ROOTS'],
    ['outside, by a link', 'RW 1 SPARSE "link"', '', 'OUTSIDE_IMAGE_ROOTS'],
    ['of a server', 'RW 1 SPARSE "nbd://127.0.0.1/"', '', 'IMAGE_UNUSABLE'],
    ['in the syntax of qemu', `RW 1 SPARSE "json:{'driver':'null-co'}"`, '', 'IMAGE_UNUSABLE'],
    ['that is a descriptor of the server', 'RW 1 SPARSE "/proc/self/fd/1"', '', 'OUTSIDE_IMAGE_ROOTS'],
    [
      'outside, as the parent',
      'RW 1 FLAT "flat" 0',
      'parentCID=1\nparentFileNameHint="OUTSIDE"',
      'OUTSIDE_IMAGE_ROOTS',
    ],
    ['that is a directory', 'RW 1 SPARSE "."', '', 'IMAGE_UNUSABLE'],
    ['that is not there', 'RW 1 SPARSE "nothing"', '', 'IMAGE_MISSING'],
  ])('opens no file %s', async (_what, extents, parent, reason) => {
    const secret = join(scene.outside, 'secret');
    writeFileSync(secret, sparse());
    symlinkSync(secret, inRoot('link'));
    writeFileSync(inRoot('flat'), Buffer.alloc(512));
    writeFileSync(inRoot('a.vmdk'), text([extents], parent === '' ? undefined : parent).replaceAll('OUTSIDE', secret));
    expect((await refusal('a.vmdk', 'vmdk')).reason).toBe(reason);
  });

  it('has a parent in the state that it had when the snapshot was made', async () => {
    for (const subformat of ['monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse']) {
      qemuImg('create', '-q', '-f', 'vmdk', '-o', `subformat=${subformat}`, inRoot('base.vmdk'), '4M');
      qemuImg('create', '-q', '-f', 'vmdk', '-b', inRoot('base.vmdk'), '-F', 'vmdk', inRoot('top.vmdk'));
      expect((await usesOf('top.vmdk')).length).toBeGreaterThan(2);
      // qemu writes up to eight digits.
      const changed = readFileSync(inRoot('base.vmdk'), 'latin1').replace(/CID=[\da-f]+/, (cid) =>
        cid.replace(/[\da-f]/g, '0'),
      );
      writeFileSync(inRoot('base.vmdk'), changed, 'latin1');
      expect(await refusal('top.vmdk', 'vmdk')).toMatchObject({
        reason: 'IMAGE_UNUSABLE',
        message: expect.stringMatching(/has content ID 0{8}, but the snapshot was made of/),
      });
    }
  });

  it('has no parent in another format, and is not its own', async () => {
    qcow2Image(inRoot('base.qcow2'), '1M');
    for (const [parent, why] of [
      ['base.qcow2', "is not in format 'vmdk'"],
      ['a.vmdk', 'leads back to an image of the same chain'],
    ] as const) {
      writeFileSync(inRoot('a.vmdk'), sparse(withParent(parent)));
      expect((await refusal('a.vmdk', 'vmdk')).message).toContain(why);
    }
  });

  it.each<readonly [string, (image: Buffer) => void, string]>([
    ['no magic', (image) => image.fill(0, 0, 4), 'is not a sparse extent'],
    ['an embedded descriptor in place of data', (image) => image.writeBigUInt64LE(0n, 12), 'a capacity of 0'],
    ['a huge capacity', (image) => image.writeBigUInt64LE(1n << 60n, 12), 'a capacity of'],
    ['less than is expected', (image) => image.writeBigUInt64LE(1024n, 12), 'where 1048576 bytes are expected'],
    ['odd grains', (image) => image.writeBigUInt64LE(100n, 20), 'grains of 100 sectors'],
    ['tables without entries', (image) => image.writeUInt32LE(0, 44), 'tables of 0 entries'],
    ['huge tables', (image) => image.writeUInt32LE(2 ** 31, 44), 'entries'],
    ['compressed grains', (image) => image.writeUInt32LE(1 << 16, 8), 'stream-optimised'],
    ['its directory at the end', (image) => image.writeBigInt64LE(-1n, 56), 'stream-optimised'],
    ['its directory outside', (image) => image.writeBigUInt64LE(1n << 50n, 56), 'outside the file'],
    ['a table outside', (image) => image.writeUInt32LE(0xffff_ffff, 512), 'a table of its grains is cut off'],
    ['a grain outside', (image) => image.writeUInt32LE(0xffff_ffff, 1024), 'a grain is outside the file'],
    ['a grain that is cut off', (image) => image.writeUInt32LE(1, 1024), 'a grain is outside the file'],
  ])('is refused for an extent with %s', async (_what, change, why) => {
    writeFileSync(inRoot('s.vmdk'), sparse(change));
    writeFileSync(inRoot('a.vmdk'), text(['RW 2048 SPARSE "s.vmdk"']));
    expect(await refusal('a.vmdk', 'vmdk')).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(new RegExp(`^extent 's.vmdk' of image 'a.vmdk' .*${why}`)),
    });
  });

  it('is refused if a flat extent is cut off', async () => {
    writeFileSync(inRoot('f'), Buffer.alloc(1024));
    writeFileSync(inRoot('a.vmdk'), text(['RW 2 FLAT "f" 0', 'RW 2 FLAT "f" 1']));
    expect((await refusal('a.vmdk', 'vmdk')).message).toContain('is truncated: 1024 of 1536 bytes are there');
    truncateSync(inRoot('f'), 1536);
    expect(await usesOf('a.vmdk')).toHaveLength(3);
  });
});

/** Gives a sparse extent a descriptor that names a parent. */
function withParent(name: string): (image: Buffer) => void {
  return (image) => {
    image.writeBigUInt64LE(10n, 28);
    image.writeBigUInt64LE(1n, 36);
    image.write(text([], `parentCID=12ab34cd\nparentFileNameHint="${name}"`), 5120);
  };
}

describe('a descriptor', () => {
  it('names extents and a parent', () => {
    const lines = ['RW 8 FLAT "a b.vmdk" 16', 'RDONLY 4 SPARSE "c"', 'RW 1 VMFS "d"\r'];
    expect(
      parseVmdkDescriptor(Buffer.from(`${text(lines, 'parentCID=1\nparentFileNameHint="../p.vmdk"')}\0CID=2`)),
    ).toEqual({
      cid: '12ab34cd',
      parent: { file: '../p.vmdk', cid: '00000001' },
      extents: [
        { kind: 'flat', file: 'a b.vmdk', size: 4096, offset: 8192 },
        { kind: 'sparse', file: 'c', size: 2048, offset: 0 },
        { kind: 'flat', file: 'd', size: 512, offset: 0 },
      ],
    });
  });

  it.each([
    ['RW 8 ZERO', 'type ZERO'],
    ['RW 8 SESPARSE "a"', 'type SESPARSE'],
    ['RW 8 VMFSSPARSE "a"', 'type VMFSSPARSE'],
    ['NOACCESS 8 FLAT "a" 0', 'damaged line'],
    ['RW 8 FLAT a 0', 'damaged line'],
    ['RW 8 FLAT "a', 'damaged line'],
    ['RW 0 FLAT "a" 0', 'impossible size'],
    ['RW 999999999999999 FLAT "a" 0', 'impossible size'],
    ['RW 8 SPARSE "a" 8', 'damaged line'],
    ['CID=1', 'states CID twice'],
  ])('with "%s" is refused', (line, why) => {
    expect(() => parseVmdkDescriptor(Buffer.from(text([line])))).toThrow(BadImageHeader);
    expect(() => parseVmdkDescriptor(Buffer.from(text([line])))).toThrow(why);
  });

  it('of a disk that is too large is refused', () => {
    const most = `RW ${2 ** 43} FLAT "a" 0`;
    expect(() => parseVmdkDescriptor(Buffer.from(text([most])))).not.toThrow();
    expect(() => parseVmdkDescriptor(Buffer.from(text([most, 'RW 1 FLAT "a" 0'])))).toThrow('too large');
  });
});

it('what a drive costs is limited over all its files', () => {
  const budget = new MappingBudget();
  for (let table = 0; table < 2 << 16; table += 1) budget.readTable();
  expect(() => budget.readTable()).toThrow('2 TiB');
  budget.write(256 << 20);
  expect(() => budget.write(1)).toThrow('2 TiB');
});

it('an extent that announces a huge disk, with tables that are not there, is not read', async () => {
  // A file with holes, so that its directory of zeros is as long as it likes.
  writeFileSync(
    inRoot('s.vmdk'),
    sparse((image) => {
      image.writeBigUInt64LE(1n << 42n, 12);
      image.writeUInt32LE(1, 44);
    }),
  );
  truncateSync(inRoot('s.vmdk'), 2 ** 43);
  writeFileSync(inRoot('a.vmdk'), text([`RW ${2 ** 42} SPARSE "s.vmdk"`]));
  expect((await refusal('a.vmdk', 'vmdk')).message).toContain('more than can be mapped');
});

it.each([
  ['blanks', `CID=${' '.repeat(65_000)}"`],
  ['quotes', 'RW 1 FLAT "'.repeat(5900)],
  ['words', `RW ${'x '.repeat(32_000)}`],
  ['lines', 'RW 1 FLAT "a" 0\n'.repeat(4000)],
])('a descriptor of %s is read in linear time', (_what, lines) => {
  const bytes = Buffer.from(lines);
  const read = (): void => {
    try {
      parseVmdkDescriptor(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(BadImageHeader);
    }
  };
  expect(processorTime(read)).toBeLessThan(250);
});

it('a large disk is mapped in short turns', async () => {
  const size = 2 ** 38;
  const cover = await open(join(scene.run, 'cover'), 'wx+');
  const runs = async function* () {
    yield [{ disk: 0, file: 1 << 20, length: size }];
  };
  const source = {
    file: { read: async () => ({ bytesRead: 0 }) },
    fileSize: BigInt(size + (1 << 20)),
    diskSize: size,
    runs,
  };
  const turn = await longestTurn(async () => {
    expect(await writeCover(cover, source, new MappingBudget())).toBeLessThan(32 << 20);
  });
  await cover.close();
  expect(turn).toBeLessThan(50);
});
