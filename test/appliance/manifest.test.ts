import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { uuidFrom } from '../../appliance-builder/image.js';
import { defaultApplianceDirectory } from '../../appliance-builder/location.js';
import { describeFile, MANIFEST_FORMAT, readManifest, upstreamVersion } from '../../appliance-builder/manifest.js';

describe('upstreamVersion', () => {
  it.each([
    ['1:1.54.1-2+deb13u1', '1.54.1'],
    ['1:1.48.6-2', '1.48.6'],
    ['1.56.0', '1.56.0'],
    ['1:1.57.2~rc1-1', '1.57.2'],
  ])('of %s is %s', (version, expected) => {
    expect(upstreamVersion(version)).toBe(expected);
  });
});

describe('uuidFrom', () => {
  it('is a UUID, equal for equal texts only', () => {
    expect(uuidFrom('a')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuidFrom('a')).toBe(uuidFrom('a'));
    expect(uuidFrom('a')).not.toBe(uuidFrom('b'));
  });
});

describe('defaultApplianceDirectory', () => {
  it('follows XDG_CACHE_HOME, if that is absolute', () => {
    const directory = (env: NodeJS.ProcessEnv): string => defaultApplianceDirectory('trixie', env);
    expect(directory({ XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe('/c/guestfs-grpc/appliance/trixie');
    expect(directory({ XDG_CACHE_HOME: 'c', HOME: '/h' })).toBe('/h/.cache/guestfs-grpc/appliance/trixie');
    expect(directory({ HOME: '/h' })).toBe('/h/.cache/guestfs-grpc/appliance/trixie');
  });
});

describe('files on disk', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'manifest-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('are described with their holes', async () => {
    const path = join(directory, 'sparse');
    const file = await open(path, 'w');
    await file.truncate(1_000_000);
    await file.close();
    expect(await describeFile(path)).toEqual({
      sha256: 'd29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025',
      size: 1_000_000,
    });
  });

  it('are not a manifest if missing, broken or in another format', async () => {
    expect(await readManifest(directory)).toBeUndefined();
    await writeFile(join(directory, 'manifest.json'), '{"formatVersion":');
    expect(await readManifest(directory)).toBeUndefined();
    await writeFile(join(directory, 'manifest.json'), JSON.stringify({ formatVersion: MANIFEST_FORMAT + 1 }));
    expect(await readManifest(directory)).toBeUndefined();
  });
});
