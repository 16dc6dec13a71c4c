import { spawn } from 'node:child_process';
import { mkdtemp, open, readFile, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  createMemoryFile,
  keepMemoryFile,
  loadMemoryFile,
  packMemoryFile,
  sealMemoryFiles,
  unpackMemoryFile,
} from '../../../src/common/memoryFile.js';
import { eventually } from '../../support/eventually.js';
import { processesThatMention } from '../../support/processes.js';

// Each memory file is a process: many of them take a while on a busy machine.
jest.setTimeout(30_000);

const never = new AbortController().signal;
const BLOCK = 1 << 16;

let scene: string;
let files: FileHandle[];

beforeEach(async () => {
  scene = await mkdtemp(join(tmpdir(), 'memory-'));
  files = [];
});
afterEach(async () => {
  await Promise.all(files.map((file) => file.close()));
  await rm(scene, { recursive: true });
});

async function opened(name: string, flags: string): Promise<FileHandle> {
  const file = await open(join(scene, name), flags);
  files.push(file);
  return file;
}

async function fileOf(contents: Buffer): Promise<FileHandle> {
  const name = `file${files.length}`;
  await writeFile(join(scene, name), contents);
  return opened(name, 'r');
}

async function memory(size: number): Promise<FileHandle> {
  const file = await createMemoryFile(size, never);
  files.push(file);
  return file;
}

async function loaded(contents: Buffer): Promise<{ file: FileHandle; digest: string }> {
  const result = await loadMemoryFile(await fileOf(contents), never);
  files.push(result.file);
  return result;
}

async function contentsOf(file: FileHandle): Promise<Buffer> {
  const { size } = await file.stat();
  return (await file.read(Buffer.alloc(size + 1), 0, size + 1, 0)).buffer.subarray(0, size);
}

describe('a memory file', () => {
  it('is empty, can be written, and is in no directory', async () => {
    const file = await memory(3 * BLOCK + 5);
    expect(await contentsOf(file)).toEqual(Buffer.alloc(3 * BLOCK + 5));
    await file.write(Buffer.from('end'), 0, 3, 3 * BLOCK + 2);
    expect((await contentsOf(file)).subarray(-3).toString()).toBe('end');
    expect((await file.stat()).nlink).toBe(0);
  });

  it('cannot be changed once it is sealed, even if it is already open', async () => {
    const [first, second] = [await memory(BLOCK), await memory(BLOCK)];
    await first.write(Buffer.from('before'), 0, 6, 0);
    const again = await open(`/proc/self/fd/${first.fd}`, 'r+');
    files.push(again);
    await sealMemoryFiles([first, second], never);
    for (const file of [first, second, again]) {
      await expect(file.write(Buffer.from('after'), 0, 5, 0)).rejects.toMatchObject({ code: 'EPERM' });
      await expect(file.truncate(1)).rejects.toMatchObject({ code: 'EPERM' });
      await expect(file.truncate(2 * BLOCK)).rejects.toMatchObject({ code: 'EPERM' });
    }
    expect((await contentsOf(first)).subarray(0, 6).toString()).toBe('before');
  });

  it('that is loaded has the content and is sealed', async () => {
    const contents = Buffer.concat([
      Buffer.alloc(2 * BLOCK),
      Buffer.from('in the middle'),
      Buffer.alloc(3 * BLOCK),
      Buffer.from('end'),
    ]);
    const { file } = await loaded(contents);
    expect((await contentsOf(file)).equals(contents)).toBe(true);
    await expect(file.write(Buffer.from('x'), 0, 1, 0)).rejects.toMatchObject({ code: 'EPERM' });
  });

  it('cannot be sealed while it is mapped for writing, as by a qemu that still runs', async () => {
    const file = await memory(BLOCK);
    const program = 'import mmap, sys; m = mmap.mmap(3, 0); print("mapped", flush=True); sys.stdin.read()';
    const holder = spawn('python3', ['-c', program], { stdio: ['pipe', 'pipe', 'inherit', file.fd] });
    try {
      await new Promise((resolve) => holder.stdout?.once('data', resolve));
      await expect(sealMemoryFiles([file], never)).rejects.toThrow(/busy/);
    } finally {
      holder.stdin?.end();
      await new Promise((resolve) => holder.once('exit', resolve));
    }
  });
});

describe('a memory file that is kept', () => {
  it('takes no space where there are only zeros', async () => {
    const file = await memory(64 * BLOCK);
    // A written block of zeros is treated like any other.
    await file.write(Buffer.alloc(8 * BLOCK), 0, 8 * BLOCK, 0);
    await file.write(Buffer.from('here'), 0, 4, 40 * BLOCK + 7);
    await keepMemoryFile(file, await opened('kept', 'w'), never);
    const { size, blocks } = await stat(join(scene, 'kept'));
    expect(size).toBe(64 * BLOCK);
    expect(blocks * 512).toBeLessThanOrEqual(2 * BLOCK);
    expect((await readFile(join(scene, 'kept'))).equals(await contentsOf(file))).toBe(true);
  });

  it('has the same digest as when it is loaded', async () => {
    const contents = Buffer.concat([Buffer.from('first'), Buffer.alloc(5 * BLOCK), Buffer.from('last')]);
    const { file, digest } = await loaded(contents);
    expect(await keepMemoryFile(file, await opened('kept', 'w'), never)).toBe(digest);
    const again = await loadMemoryFile(await opened('kept', 'r'), never);
    files.push(again.file);
    expect(again.digest).toBe(digest);
  });

  it('has another digest with another byte, another position, another size', async () => {
    const one = Buffer.alloc(4 * BLOCK);
    one[BLOCK] = 1;
    const flipped = Buffer.from(one);
    flipped[BLOCK] = 3;
    const elsewhere = Buffer.alloc(4 * BLOCK);
    elsewhere[2 * BLOCK] = 1;
    const variants = [
      one,
      flipped,
      elsewhere,
      one.subarray(0, 3 * BLOCK),
      Buffer.concat([one, Buffer.alloc(1)]),
      Buffer.alloc(0),
      Buffer.alloc(1),
      Buffer.alloc(4 * BLOCK),
    ];
    const digests: string[] = [];
    for (const variant of variants) digests.push((await loaded(variant)).digest);
    expect(new Set(digests).size).toBe(variants.length);
    expect((await loaded(Buffer.from(one))).digest).toBe(digests[0]);
  });
});

describe('a memory file that is packed', () => {
  const contents = Buffer.concat([Buffer.from('first'), Buffer.alloc(70 * BLOCK), Buffer.from('last')]);

  async function packed(): Promise<{ readonly digest: string; readonly bytes: Buffer }> {
    const digest = await packMemoryFile(await fileOf(contents), await opened('packed', 'w'), never);
    return { digest, bytes: await readFile(join(scene, 'packed')) };
  }

  it('has no zeros, and the same content, digest and seals when it is unpacked', async () => {
    const { digest, bytes } = await packed();
    expect(bytes.length).toBeLessThan(3 * BLOCK);
    expect(digest).toBe((await loaded(contents)).digest);
    const unpacked = await unpackMemoryFile(await fileOf(bytes), never);
    files.push(unpacked.file);
    expect(unpacked.digest).toBe(digest);
    expect((await contentsOf(unpacked.file)).equals(contents)).toBe(true);
    await expect(unpacked.file.write(Buffer.from('x'), 0, 1, 0)).rejects.toMatchObject({ code: 'EPERM' });
  });

  it('is refused, or has another digest, wherever it is damaged or cut', async () => {
    const { digest, bytes } = await packed();
    const outcome = async (damaged: Buffer): Promise<string> => {
      const found = await unpackMemoryFile(await fileOf(damaged), never).catch((error: unknown) => String(error));
      if (typeof found === 'string') return found;
      files.push(found.file);
      return found.digest === digest ? 'the same' : 'another digest';
    };
    const flipped = (at: number): Buffer => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 0x80;
      return copy;
    };
    expect(await outcome(flipped(0))).toMatch(/not a packed memory file/);
    // The size, and the position and length of a block.
    for (const at of [8, 15, 16, 23, 24, 27]) expect(await outcome(flipped(at))).not.toBe('the same');
    expect(await outcome(flipped(100))).toBe('another digest');
    expect(await outcome(bytes.subarray(0, 20))).toMatch(/ends too early/);
    expect(await outcome(bytes.subarray(0, -1))).toMatch(/ends too early/);
    expect(await outcome(Buffer.alloc(0))).toMatch(/not a packed memory file/);
  });
});

describe('a failure with a memory file', () => {
  it('is reported: a full target, an unreadable source, an invalid size', async () => {
    const file = await memory(BLOCK);
    await file.write(Buffer.from('x'), 0, 1, 0);
    await expect(keepMemoryFile(file, await opened('..', 'r'), never)).rejects.toThrow(
      /Invalid argument|Is a directory/,
    );
    const directory = await opened('.', 'r');
    await expect(loadMemoryFile(directory, never)).rejects.toThrow(/^cannot create a memory file: .*Is a directory/);
    await expect(createMemoryFile(-1, never)).rejects.toThrow(/^cannot create a memory file: .*Invalid argument/);
    await expect(createMemoryFile(2 ** 62 * 4, never)).rejects.toThrow(/^cannot create a memory file: /);
  });

  it('does not delay a caller who has given up', async () => {
    const controller = new AbortController();
    const creating = createMemoryFile(BLOCK, controller.signal);
    controller.abort(new Error('changed my mind'));
    await expect(creating).rejects.toThrow('changed my mind');
    await expect(createMemoryFile(BLOCK, controller.signal)).rejects.toThrow('changed my mind');
    await expect(loadMemoryFile(await fileOf(Buffer.alloc(1)), controller.signal)).rejects.toThrow('changed my mind');
    await eventually(() => processesThatMention('memoryFile.py').length === 0);
  });
});
