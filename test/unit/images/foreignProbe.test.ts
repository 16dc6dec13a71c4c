import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { overrideIsolation } from '../../../src/jail/isolation.js';
import { createForeignProbe, type ProbedImage } from '../../../src/images/foreignProbe.js';
import { errorOf, makeScene, rawImage, type Scene } from './scene.js';

let scene: Scene;
let file: FileHandle;
let image: ProbedImage;
const signal = new AbortController().signal;
beforeEach(async () => {
  scene = makeScene();
  const path = rawImage(join(scene.root, 'a.img'), 4096);
  writeFileSync(path, 'the image');
  file = await open(path);
  image = { handle: file, kind: 'file', size: 4096n, head: Buffer.from('the head') };
});
afterEach(async () => {
  await file.close();
  scene.remove();
});

const NOBODY_ELSE = { acquire: async () => undefined };

/** Stands for qemu: a shell script. */
function emulator(script: string): string {
  const path = join(scene.base, 'qemu');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  chmodSync(scene.base, 0o755);
  return path;
}
const probeWith = (script: string) => createForeignProbe({ qemuBinary: emulator(script), users: NOBODY_ELSE });
const NODES = `{"return": [{"node-name": "file", "image": {"virtual-size": 1}}, {"node-name": "image", "image": {"virtual-size": 1048576}}]}`;

// In a jail, the script could not record what it saw.
beforeAll(() => overrideIsolation({ kind: 'none', as: 'user', reason: 'a test' }));
afterAll(() => overrideIsolation(undefined));

describe('the probe', () => {
  it('finds the size of the requested node', async () => {
    const probe = probeWith(`echo '{"QMP": {}}'; echo '{"return": {}}'; echo '${NODES}'`);
    expect(await probe(image, 'vdi', 'image', signal)).toBe(1048576n);
  });

  it('is tried again when the host lacks memory or threads for a moment, and does not blame the image', async () => {
    const tries = join(scene.run, 'tries');
    const lack = 'echo "qemu-system-x86_64: qemu_thread_create: Resource temporarily unavailable" >&2; kill -ABRT $$';
    const probe = probeWith(`echo x >>${tries}; [ $(grep -c x ${tries}) -gt 2 ] || { ${lack}; }; echo '${NODES}'`);
    expect(await probe(image, 'vdi', 'image', signal)).toBe(1048576n);
    const always = probeWith(lack);
    await expect(always(image, 'vdi', 'image', signal)).rejects.toMatchObject({
      reason: 'OUT_OF_MEMORY',
      message: expect.stringContaining('the server has too little memory or too few threads'),
    });
  });

  it('passes the image as a descriptor, sets limits, and passes no path', async () => {
    const seen = join(scene.run, 'seen');
    const probe = probeWith(`{ echo "$@"; cat; cat /proc/self/limits; cat <&3; cat <&4; } > ${seen}; echo '${NODES}'`);
    await probe(image, 'vmdk', 'image', signal);
    const output = readFileSync(seen, 'utf8');
    expect(output).toContain('-add-fd fd=3,set=1 -add-fd fd=4,set=2');
    expect(output).toContain('-sandbox on');
    expect(output).toContain('"driver":"vmdk","file":"image-file"');
    expect(output).toContain('"backing":null');
    expect(output).toMatch(/Max cpu time +10 +10 /);
    expect(output).toMatch(/Max address space +1073741824 +1073741824 /);
    expect(output).toContain('the image');
    expect(output).toContain('the head');
    expect(output).not.toContain('a.img');
  });

  it('runs as the given user', async () => {
    if (process.getuid?.() !== 0) return;
    const probe = createForeignProbe({
      qemuBinary: emulator(
        `echo "{\\"return\\": [{\\"node-name\\": \\"image\\", \\"image\\": {\\"virtual-size\\": $(id -u)$(id -G | tr -d ' ')}}]}"`,
      ),
      users: { acquire: async () => ({ uid: 65534, gid: 65534, release: async () => undefined }) },
    });
    expect(await probe(image, 'vdi', 'image', signal)).toBe(6553465534n);
  });

  it.each([
    [
      'an error of qemu',
      `echo '{"error": {"class": "GenericError", "desc": "Image not in VDI format in /dev/fdset/1"}}'`,
      "image 'a' cannot be opened in format 'vdi': Image not in VDI format in it",
    ],
    ['silence', 'exit 0', 'qemu failed without a message'],
    ['its death', 'kill -9 $$', 'qemu failed without a message'],
    ['a message', 'echo "out of memory" >&2; exit 1', 'out of memory'],
    [
      'nonsense',
      'echo "[1, {]"; echo 7; echo null; echo \'{"return": [{}, {"node-name": "image"}]}\'',
      'qemu failed without a message',
    ],
    [
      'a negative size',
      `echo '{"return": [{"node-name": "image", "image": {"virtual-size": -1}}]}'`,
      'qemu failed without a message',
    ],
    ['endless words', 'exec yes', 'takes too long'],
    ['endless work', 'ulimit -t 1; while :; do :; done', 'qemu failed without a message'],
  ])('turns %s into an error', async (_what, script, words) => {
    expect(await errorOf(probeWith(script)(image, 'vdi', "image 'a'", signal))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining(words),
    });
  });

  it('runs two at a time', async () => {
    const log = join(scene.run, 'log');
    const probe = probeWith(`echo + >> ${log}; sleep 0.1; echo - >> ${log}; echo '${NODES}'`);
    await Promise.all(Array.from({ length: 5 }, () => probe(image, 'vdi', 'image', signal)));
    let running = 0;
    let most = 0;
    for (const mark of readFileSync(log, 'utf8').trim().split('\n')) {
      running += mark === '+' ? 1 : -1;
      most = Math.max(most, running);
    }
    expect([running, most]).toEqual([0, 2]);
  });

  it('stops with its signal', async () => {
    const abort = new AbortController();
    const started = performance.now();
    const probing = probeWith('exec sleep 20')(image, 'vdi', 'image', abort.signal).catch((error: unknown) => error);
    setTimeout(() => abort.abort(new Error('enough')), 50);
    expect(await probing).toMatchObject({ message: 'enough' });
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
