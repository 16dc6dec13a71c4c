import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { truncate, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { ImageClaims, ImageUses } from '../../../src/images/imageUses.js';
import { prepareDrives, type DriveContext, type PreparedDrives } from '../../../src/images/prepareDrives.js';
import {
  errorOf,
  fileDrive,
  makeScene,
  openFiles,
  overlayImage,
  qcow2Image,
  qemuImg,
  rawImage,
  scratchDrive,
  type Scene,
} from './scene.js';
import { eventually } from '../../support/eventually.js';

type Access = 'read-only' | 'read-write' | 'write-only';

/** The access mode of an open file: O_ACCMODE of its flags, see proc(5). */
function accessThrough({ fd }: FileHandle): Access | undefined {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  return (['read-only', 'write-only', 'read-write'] as const)[parseInt(flags, 8) & 3];
}

let scene: Scene;
/** The file of each set, in order, and its access mode when it was passed. */
let given: { readonly file: FileHandle; readonly access: Access | undefined }[];
let abort: AbortController;
let context: DriveContext;
let before: number;

beforeEach(() => {
  scene = makeScene();
  given = [];
  abort = new AbortController();
  context = {
    runDirectory: scene.run,
    qemuBinary: '/nosuch/qemu',
    claims: new ImageClaims(new ImageUses()),
    signal: abort.signal,
    fdSets: {
      add(file) {
        given.push({ file, access: accessThrough(file) });
        return `/dev/fdset/${given.length}`;
      },
      connect: ({ fd }) => String(fd),
    },
  };
  before = openFiles();
});
afterEach(async () => {
  await context.claims.releaseAll();
  scene.remove();
});

const inRoot = (name: string): string => join(scene.root, name);
const accessOf = (prepared: PreparedDrives, node: string): Access | undefined => {
  const found = prepared.drives.flatMap((drive) => drive.blockNodes).find((one) => one['node-name'] === node);
  return given[Number(String(found?.['filename']).split('/').at(-1)) - 1]?.access;
};

describe('prepareDrives', () => {
  it('keeps the order, and has the properties of the devices', async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    qcow2Image(inRoot('b.qcow2'), '2M');
    const prepared = await prepareDrives(
      [
        fileDrive('b.qcow2', { label: 'two' }),
        fileDrive('a.img', { readonly: false, blockSize: 4096 }),
        scratchDrive(1n << 20n, { label: 'tmp', cacheMode: 'unsafe' }),
      ],
      context,
    );
    expect(prepared.drives).toMatchObject([
      { topNode: 'drive0', serial: 'two', blockSize: undefined, format: 'qcow2', subject: "image 'b.qcow2'" },
      { topNode: 'drive1', serial: undefined, blockSize: 4096, format: 'raw', subject: "image 'a.img'" },
      { topNode: 'drive2', serial: 'tmp', blockSize: undefined, format: 'raw', subject: 'a scratch drive' },
    ]);
    expect(prepared.drives.map((drive) => drive.blockNodes.at(-1)?.['node-name'])).toEqual([
      'drive0',
      'drive1',
      'drive2',
    ]);
    expect(accessOf(prepared, 'drive0-file-body')).toBe('read-only');
    expect(accessOf(prepared, 'drive0-file-head')).toBe('read-only');
    expect(accessOf(prepared, 'drive0-overlay')).toBe('read-write');
    expect(accessOf(prepared, 'drive1-file')).toBe('read-write');
    expect(accessOf(prepared, 'drive2-file')).toBe('read-write');
    await prepared.dispose();
  });

  it('numbers nodes from the given index', async () => {
    const prepared = await prepareDrives([scratchDrive(512n)], { ...context, firstIndex: 7 });
    expect(prepared.drives[0]?.topNode).toBe('drive7');
    await prepared.dispose();
  });

  it('opens read-only images without write access', async () => {
    rawImage(inRoot('base.img'), 1 << 20);
    overlayImage(inRoot('a.qcow2'), 'base.img');
    const prepared = await prepareDrives(
      [fileDrive('a.qcow2', { format: 'qcow2' }), fileDrive('a.qcow2', { format: 'qcow2', readonly: false })],
      context,
    );
    for (const { file, access } of given) {
      const write = file.write('').then(
        () => 'read-write',
        () => 'read-only',
      );
      // An empty write still fails on a descriptor that is open for reading.
      expect(await write).toBe(access);
    }
    expect(accessOf(prepared, 'drive1-backing1-file')).toBe('read-only');
    await prepared.dispose();
  });

  it('leaves no name of a temporary disk behind, and no file open', async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    const prepared = await prepareDrives([fileDrive('a.img'), scratchDrive(1n << 30n)], context);
    expect(readdirSync(scene.run)).toEqual([]);
    // The last one watches the image.
    expect(openFiles()).toBe(before + 4);
    await Promise.all([prepared.dispose(), prepared.dispose()]);
    await prepared.dispose();
    expect(openFiles()).toBe(before + 1);
    await context.claims.releaseAll();
    await eventually(() => openFiles() === before);
  });

  it('makes overlays and scratch disks that only the server can open', async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    const prepared = await prepareDrives([fileDrive('a.img'), scratchDrive(1n << 30n)], context);
    for (const { file, access } of given.filter((one) => one.access === 'read-write')) {
      const stats = await file.stat();
      expect({ access, mode: stats.mode & 0o777, links: stats.nlink }).toEqual({ access, mode: 0o600, links: 0 });
      expect(stats.blocks * 512).toBeLessThan(64 * 1024);
    }
    await prepared.dispose();
  });

  it('gives overlays the size of their image', async () => {
    rawImage(inRoot('odd.img'), 1000);
    const prepared = await prepareDrives([fileDrive('odd.img')], context);
    const header = Buffer.alloc(32);
    await given.find((one) => one.access === 'read-write')?.file.read(header, 0, 32, 0);
    expect(header.readBigUInt64BE(24)).toBe(1024n);
    await prepared.dispose();
  });

  it('uses qcow2 for scratch disks that are too large for a file', async () => {
    const size = 1n << 50n;
    const holds = await truncate(rawImage(join(scene.run, 'try'), 0), Number(size)).then(
      () => 'raw',
      () => 'qcow2',
    );
    rmSync(join(scene.run, 'try'));
    const prepared = await prepareDrives([scratchDrive(size), scratchDrive(1n << 20n)], context);
    expect(prepared.drives.map((drive) => drive.format)).toEqual([holds, 'raw']);
    await prepared.dispose();
    expect(await errorOf(prepareDrives([scratchDrive(1n << 62n)], context))).toMatchObject({ reason: 'EFBIG' });
    expect(openFiles()).toBe(before);
  });

  it.each([
    ['a missing image', { path: 'gone.img' }, 'IMAGE_MISSING', "'gone.img'"],
    ['an empty image', { path: 'empty.img' }, 'IMAGE_UNUSABLE', 'is empty'],
    ['an image outside', { path: '/etc/passwd' }, 'OUTSIDE_IMAGE_ROOTS', '/etc/passwd'],
    ['discard on a read-only drive', { path: 'a.img', options: { discard: 'enable' } }, 'ENOTSUP', 'read-only'],
    [
      'discard on a format without',
      { path: 'a.vdi', options: { discard: 'enable', readonly: false } },
      'ENOTSUP',
      "'vdi'",
    ],
    ['a format that needs qemu, without it', { path: 'a.vdi' }, 'IMAGE_UNUSABLE', "'vdi'"],
  ] as const)('refuses %s, and leaves nothing behind', async (_what, wrong, reason, words) => {
    rawImage(inRoot('a.img'), 1 << 20);
    writeFileSync(inRoot('empty.img'), '');
    qemuImg('create', '-q', '-f', 'vdi', inRoot('a.vdi'), '1M');
    const drive = fileDrive(wrong.path, 'options' in wrong ? wrong.options : {});
    const error = await errorOf(prepareDrives([fileDrive('a.img'), drive, scratchDrive(1n << 20n)], context));
    expect(error).toMatchObject({ reason, message: expect.stringContaining(words) });
    expect(openFiles()).toBe(before);
    expect(readdirSync(scene.run)).toEqual([]);
  });

  it('reports the first of several faulty drives', async () => {
    for (let turn = 0; turn < 5; turn++) {
      const error = await errorOf(
        prepareDrives([fileDrive('sub/../x/first.img'), fileDrive('second.img'), fileDrive('')], context),
      );
      expect(error.message).toContain('first.img');
    }
  });

  it('takes the size of a foreign image from the probe', async () => {
    qemuImg('create', '-q', '-f', 'vdi', inRoot('a.vdi'), '3M');
    const asked: unknown[] = [];
    const probe: DriveContext['probe'] = (image, format, subject) => {
      asked.push([image.size, image.head.subarray(0, 3).toString(), format, subject]);
      return Promise.resolve(3n << 20n);
    };
    const prepared = await prepareDrives(
      [fileDrive('a.vdi'), fileDrive('a.vdi', { readonly: false, discard: 'besteffort' })],
      { ...context, probe },
    );
    expect(asked).toEqual(Array(2).fill([BigInt(statSync(inRoot('a.vdi')).size), '<<<', 'vdi', "image 'a.vdi'"]));
    expect(prepared.drives[1]?.blockNodes.at(-1)).toMatchObject({ driver: 'vdi' });
    expect(prepared.drives[1]?.blockNodes.at(-1)).not.toHaveProperty('backing');
    await prepared.dispose();
  });

  it("stops when its signal aborts, with the signal's reason", async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    const reason = new GuestfsError('CANCELLED', 'no longer wanted');
    const preparing = errorOf(prepareDrives([fileDrive('a.img'), scratchDrive(1n << 20n)], context));
    abort.abort(reason);
    expect(await preparing).toBe(reason);
    expect(openFiles()).toBe(before);
  });

  it("explains qemu's messages about its files", async () => {
    rawImage(inRoot('a.img'), 1 << 20);
    const prepared = await prepareDrives([fileDrive('a.img', { readonly: false })], context);
    expect(prepared.explain('Is another process using the image [/dev/fdset/1]?')).toMatchObject({
      reason: 'IMAGE_LOCKED',
      message: expect.stringContaining("'a.img'"),
    });
    expect(prepared.explain('Failed to get "write" lock', prepared.drives[0])?.message).toContain("'a.img'");
    expect(prepared.explain('something else')).toBeUndefined();
    await prepared.dispose();
  });

  it('prepares 60 drives without a process for each', async () => {
    const drives = Array.from({ length: 60 }, (_, index) => {
      rawImage(inRoot(`${index}.img`), 1 << 20);
      return fileDrive(`${index}.img`);
    });
    const started = performance.now();
    const prepared = await prepareDrives(drives, context);
    const took = performance.now() - started;
    const runs = performance.now();
    for (let run = 0; run < 30; run++) qemuImg('--version');
    expect(took).toBeLessThan(performance.now() - runs);
    await prepared.dispose();
    await context.claims.releaseAll();
    await eventually(() => openFiles() === before);
  });
});

describe('an image in a format', () => {
  const uses = new ImageUses();
  const sharing = (): DriveContext => ({ ...context, claims: new ImageClaims(uses) });

  it('is opened with the checked copy of its first bytes, unless it is written', async () => {
    qcow2Image(inRoot('base.qcow2'), '1M');
    overlayImage(inRoot('over.qcow2'), 'base.qcow2', 'qcow2');
    const checked = ['base.qcow2', 'over.qcow2'].map((name) => readFileSync(inRoot(name)).subarray(0, 65536));
    for (const readonly of [true, false]) {
      given = [];
      const prepared = await prepareDrives([fileDrive('over.qcow2', { format: 'qcow2', readonly })], context);
      const nodes = prepared.drives.flatMap(({ blockNodes }) => blockNodes.map((node) => node['node-name']));
      const heads = nodes.filter((name) => name.endsWith('-file-head'));
      expect(heads).toEqual(['drive0-backing1-file-head', ...(readonly ? ['drive0-file-head'] : [])]);
      for (const [index, name] of heads.entries()) {
        const node = prepared.drives[0]?.blockNodes.find((one) => one['node-name'] === name);
        const { file } = given[Number(String(node?.['filename']).split('/').at(-1)) - 1] as { file: FileHandle };
        const contents = Buffer.alloc(65536);
        // The data of the copy is after its tables: see emptyQcow2.ts.
        await file.read(contents, 0, contents.length, 5 * 65536);
        expect(contents.equals(checked[index] as Buffer)).toBe(true);
      }
      await prepared.dispose();
    }
  });

  it('is not attached while it is written as a raw drive, nor the other way round', async () => {
    qcow2Image(inRoot('a.qcow2'), '1M');
    const raw = fileDrive('a.qcow2', { format: 'raw', readonly: false });
    const formats = [
      fileDrive('a.qcow2', { format: 'qcow2' }),
      fileDrive('a.qcow2', { format: 'qcow2', readonly: false }),
    ];
    for (const drive of formats) {
      for (const [first, second] of [
        [raw, drive],
        [drive, raw],
      ] as const) {
        const holder = sharing();
        const prepared = await prepareDrives([first], holder);
        expect(await errorOf(prepareDrives([second], sharing()))).toMatchObject({ reason: 'IMAGE_LOCKED' });
        // As long as a machine uses it, not as long as this process has it open.
        await prepared.dispose();
        expect(await errorOf(prepareDrives([second], sharing()))).toMatchObject({ reason: 'IMAGE_LOCKED' });
        await holder.claims.releaseAll();
        const now = sharing();
        await (await prepareDrives([second], now)).dispose();
        await now.claims.releaseAll();
      }
    }
    await eventually(() => openFiles() === before);
  });

  it('and a data file are not written as raw drives either', async () => {
    qcow2Image(inRoot('a.qcow2'), '1M', '-o', `data_file=${inRoot('a.data')}`);
    const holder = sharing();
    const prepared = await prepareDrives([fileDrive('a.qcow2', { format: 'qcow2', readonly: false })], holder);
    // Raw data is not parsed: qemu's lock keeps two writers apart.
    const reader = sharing();
    await (await prepareDrives([fileDrive('a.data', { format: 'raw' })], reader)).dispose();
    expect(
      await errorOf(prepareDrives([fileDrive('a.qcow2', { format: 'raw', readonly: false })], sharing())),
    ).toMatchObject({ reason: 'IMAGE_LOCKED' });
    await prepared.dispose();
    await holder.claims.releaseAll();
  });

  it('that cannot be prepared is free again', async () => {
    qcow2Image(inRoot('a.qcow2'), '1M');
    await errorOf(prepareDrives([fileDrive('a.qcow2', { format: 'qcow2' }), fileDrive('none')], sharing()));
    const writer = sharing();
    await (await prepareDrives([fileDrive('a.qcow2', { format: 'raw', readonly: false })], writer)).dispose();
    await writer.claims.releaseAll();
  });
});
