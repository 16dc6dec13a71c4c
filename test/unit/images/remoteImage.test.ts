import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ImageFormat } from '../../../src/images/formats.js';
import { openRemoteImage, remoteFormat, type RemoteImage } from '../../../src/images/remoteImage.js';
import type { AskRemote, RemoteQuestion } from '../../../src/images/remoteProbe.js';
import { errorOf, makeScene, openFiles, overlayImage, qcow2Image, qemuImg, type Scene } from './scene.js';

const SUBJECT = "nbd drive 'host'";
/** What qemu says of formats that only it understands. */
const GUEST_SIZE = 3n << 20n;

let scene: Scene;
let asked: RemoteQuestion[];
let opened: RemoteImage | undefined;
beforeEach(() => {
  scene = makeScene();
  asked = [];
  opened = undefined;
});
afterEach(async () => {
  await opened?.head?.handle.close();
  scene.remove();
});

/** A server whose image can be another each time that it is asked. */
function serverOf(...images: readonly Buffer[]): AskRemote {
  return (question) => {
    const bytes = images[Math.min(asked.length, images.length - 1)] as Buffer;
    asked.push(question);
    const { headLength = 0, format } = question;
    const size = BigInt(Math.ceil(bytes.length / 512) * 512);
    const head =
      headLength === 0 || BigInt(headLength) > size
        ? undefined
        : Buffer.concat([bytes, Buffer.alloc(512)]).subarray(0, headLength);
    return Promise.resolve({ size: format === undefined ? size : GUEST_SIZE, head });
  };
}

const made = (make: (path: string) => unknown): Buffer => {
  const path = join(scene.root, 'image');
  make(path);
  return readFileSync(path);
};
const openImage = async (ask: AskRemote, format: ImageFormat): Promise<RemoteImage> =>
  (opened = await openRemoteImage(ask, format, { directory: scene.run, file: 'head.qcow2', subject: SUBJECT }));
/** What qemu reads through a copy of an image's start. */
async function bytesOf({ head }: RemoteImage): Promise<Buffer> {
  const [copy, raw] = [join(scene.run, 'copy'), join(scene.run, 'raw')];
  writeFileSync(copy, readFileSync(`/proc/self/fd/${head?.handle.fd}`));
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', copy, raw);
  return readFileSync(raw);
}

describe('an image that a server has', () => {
  it('is what it is when it is raw', async () => {
    expect(await openImage(serverOf(Buffer.alloc(1000)), 'raw')).toEqual({
      format: 'raw',
      virtualSize: 1024n,
      head: undefined,
    });
    expect(asked).toEqual([{}]);
  });

  it.each([
    ['of the usual size', 65536, 1],
    ['in clusters of 512 bytes', 512, 2],
    ['in clusters of 2 MiB', 2 << 20, 2],
  ])('in qcow2 %s begins with a copy that nobody can change', async (_what, clusterSize, questions) => {
    const image = made((path) => {
      qcow2Image(path, '1M', '-o', `cluster_size=${clusterSize}`);
    });
    const remote = await openImage(serverOf(image), 'qcow2');
    expect(remote).toMatchObject({ format: 'qcow2', virtualSize: 1n << 20n });
    expect(asked).toHaveLength(questions);
    const length = Math.min(image.length, Math.max(clusterSize, 65536));
    const bytes = await bytesOf(remote);
    expect(bytes.subarray(0, length)).toEqual(image.subarray(0, length));
    expect(bytes.subarray(length).every((byte) => byte === 0)).toBe(true);
    expect(bytes.length).toBe(Math.ceil(image.length / 512) * 512);
    await expect(remote.head?.handle.write('x')).rejects.toThrow();
    expect(readdirSync(scene.run).sort()).toEqual(['copy', 'raw']);
  });

  it.each(['vdi', 'vhdx', 'vpc', 'qed', 'qcow', 'parallels'] as const)('in %s is measured by qemu', async (format) => {
    const image = made((path) => qemuImg('create', '-q', '-f', format, path, '8M'));
    expect(await openImage(serverOf(image), format)).toEqual({ format, virtualSize: GUEST_SIZE, head: undefined });
    expect(asked.at(-1)).toEqual({ format });
  });

  it.each<[string, ImageFormat, (path: string) => unknown, string]>([
    [
      'has a backing file',
      'qcow2',
      (path) => overlayImage(path, '/etc/passwd'),
      "has a backing file, '/etc/passwd', and a remote image must be complete in one file: make it so with 'qemu-img convert -O qcow2', or let an NBD server decode it where its files are (\"qemu-nbd --persistent --format=qcow2\")",
    ],
    [
      'has a data file',
      'qcow2',
      (path) => qcow2Image(path, '1M', '-o', `data_file=${join(scene.root, 'data')}`),
      'keeps its data in another file',
    ],
    [
      'is encrypted',
      'qcow2',
      (path) => {
        qcow2Image(path, '1M');
        const image = readFileSync(path);
        image.writeUInt32BE(1, 32);
        writeFileSync(path, image);
      },
      'encrypted',
    ],
    [
      'is damaged',
      'qcow2',
      (path) => {
        qcow2Image(path, '1M');
        const image = readFileSync(path);
        image.writeUInt32BE(40, 20);
        writeFileSync(path, image);
      },
      'cluster size',
    ],
    [
      'is cut',
      'qcow2',
      (path) => {
        qcow2Image(path, '1M');
        writeFileSync(path, readFileSync(path).subarray(0, 4096));
      },
      'ends inside its header',
    ],
    [
      'is not what it is said to be',
      'qcow2',
      (path) => writeFileSync(path, Buffer.alloc(70_000)),
      "is not in format 'qcow2'",
    ],
    ['is another', 'vdi', (path) => qcow2Image(path, '1M'), "looks like format 'qcow2'"],
    [
      'has a backing file in qed',
      'qed',
      (path) => qemuImg('create', '-q', '-f', 'qed', '-u', '-b', 'base', '-F', 'raw', path, '1M'),
      'has a backing file',
    ],
    [
      'has a backing file in qcow',
      'qcow',
      (path) => qemuImg('create', '-q', '-f', 'qcow', '-u', '-b', 'base', '-F', 'raw', path, '1M'),
      'has a backing file',
    ],
    ['has no bytes', 'qcow2', (path) => writeFileSync(path, ''), 'is empty'],
    ['has no bytes and is raw', 'raw', (path) => writeFileSync(path, ''), 'is empty'],
  ])('is refused when it %s', async (_what, format, make, words) => {
    const before = openFiles();
    const error = await errorOf(openImage(serverOf(made(make)), format));
    expect(error).toMatchObject({ reason: 'IMAGE_UNUSABLE', message: expect.stringContaining(words) });
    expect(error.message).toMatch(/^nbd drive 'host' /);
    expect([readdirSync(scene.run), openFiles()]).toEqual([[], before]);
  });

  it('is refused when it changes while it is read', async () => {
    const images = [65536, 1 << 20, 2 << 20].map((size) =>
      made((path) => qcow2Image(path, '4M', '-o', `cluster_size=${size}`)),
    );
    const [small, large, larger] = images as [Buffer, Buffer, Buffer];
    const growing = serverOf(large.subarray(0, 3 << 20), larger);
    expect((await errorOf(openImage(growing, 'qcow2'))).message).toContain('changes while it is read');
    asked = [];
    const vanishing: AskRemote = async (question) => ({ ...(await serverOf(small)(question)), head: undefined });
    expect((await errorOf(openImage(vanishing, 'qcow2'))).message).toContain('cannot be read');
  });

  it('is copied and checked in one: what it is later does not count', async () => {
    const [sound, bad] = [made((path) => qcow2Image(path, '1M')), made((path) => overlayImage(path, '/etc/passwd'))];
    const remote = await openImage(serverOf(sound, bad), 'qcow2');
    expect((await bytesOf(remote)).subarray(0, 65536)).toEqual(sound.subarray(0, 65536));
  });
});

describe('the format of a network drive', () => {
  it.each<[string | undefined, boolean, ImageFormat]>([
    [undefined, false, 'raw'],
    ['raw', false, 'raw'],
    ['qcow2', true, 'qcow2'],
    ['vhdx', true, 'vhdx'],
  ])('can be %s (read-only: %s)', (format, readonly, expected) => {
    expect(remoteFormat({ format, readonly }, SUBJECT)).toBe(expected);
  });

  it.each([
    ['qcow2', false, /cannot be written in format 'qcow2'.*read-only.*qemu-nbd --persistent --format=qcow2/],
    ['vmdk', true, /'vmdk': its header can name files.*qemu-nbd --persistent --format=vmdk/],
    ['luks', true, /cryptsetup_open/],
    ['blkdebug', true, /known formats are raw, qcow2/],
  ])('cannot be %s (read-only: %s)', (format, readonly, words) => {
    expect(() => remoteFormat({ format, readonly }, SUBJECT)).toThrow(
      expect.objectContaining({ reason: 'IMAGE_UNUSABLE', message: expect.stringMatching(words) }),
    );
  });
});
