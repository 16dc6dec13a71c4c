import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { APPLIANCE_FILES, openAppliance } from '../../../src/appliance/appliance.js';
import { ApplianceChecksums } from '../../../src/appliance/checksums.js';
import { createLogger } from '../../../src/common/logger.js';
import { createScene, type Scene } from './scene.js';

let scene: Scene;
let directory: string;
let cache: string;
let lines: Record<string, unknown>[];
const logger = createLogger('debug', (line) => lines.push(JSON.parse(line) as Record<string, unknown>));

beforeEach(async () => {
  lines = [];
  scene = await createScene();
  directory = await scene.fixed('a');
  cache = join(scene.path, 'cache');
  await mkdir(cache);
  const files: Record<string, object> = {};
  for (const name of APPLIANCE_FILES) {
    const bytes = await readFile(join(directory, name));
    files[name] = { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
  await scene.write('a/manifest.json', JSON.stringify({ formatVersion: 1, files }));
});
afterEach(() => scene.remove());

/** Writes other bytes of the same length. */
async function change(name: string): Promise<void> {
  const path = join(directory, name);
  const bytes = await readFile(path);
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

async function check(checksums: ApplianceChecksums): Promise<void> {
  const appliance = await openAppliance({ kind: 'fixed', directory });
  try {
    await checksums.require(appliance, cache);
  } finally {
    await appliance.close();
  }
}

const checked = (): number => lines.filter(({ msg }) => msg === 'checked the appliance').length;
const unusable = { reason: 'APPLIANCE_UNUSABLE', message: expect.stringContaining('is not what was built') };

it('reads an appliance once, also after a restart', async () => {
  const first = new ApplianceChecksums(logger);
  await check(first);
  await check(first);
  await first.settled();
  expect(checked()).toBe(3);
  const second = new ApplianceChecksums(logger);
  await check(second);
  await second.settled();
  expect(checked()).toBe(3);
  expect(await readdir(join(cache, await readdir(cache).then(([name = '']) => name)))).toHaveLength(3);
});

it.each(['kernel', 'initrd'])('refuses a %s that was changed, at once', async (name) => {
  await change(name);
  await expect(check(new ApplianceChecksums(logger))).rejects.toMatchObject(unusable);
  expect(lines.find(({ level }) => level === 'error')).toMatchObject({ path: join(directory, name) });
});

it('refuses a root that was changed, from when it is known', async () => {
  await change('root');
  const checksums = new ApplianceChecksums(logger);
  await check(checksums).catch(() => undefined);
  await checksums.settled();
  await expect(check(checksums)).rejects.toMatchObject(unusable);
});

it('notices a change while it runs', async () => {
  const checksums = new ApplianceChecksums(logger);
  await check(checksums);
  await checksums.settled();
  await change('kernel');
  await expect(check(checksums)).rejects.toMatchObject(unusable);
});

it('reads the file that it was given, also if the appliance is closed at once and its numbers are used again', async () => {
  await change('root');
  const checksums = Array.from({ length: 40 }, () => new ApplianceChecksums(logger));
  await Promise.all(
    checksums.map(async (one) => {
      await check(one);
      // Whatever gets the number of the file that was closed is no root of an appliance.
      const others = await Promise.all(Array.from({ length: 4 }, () => open(directory)));
      await Promise.all(others.map((other) => other.close()));
    }),
  );
  await Promise.all(checksums.map((one) => one.settled()));
  expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
  expect(lines.filter(({ level }) => level === 'error')).toHaveLength(40);
});
