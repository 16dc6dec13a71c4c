import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { buildAppliance } from '../../appliance-builder/build.js';
import { hashInputs } from '../../appliance-builder/inputs.js';
import { describeFile, MANIFEST_FORMAT } from '../../appliance-builder/manifest.js';
import { findSuite } from '../../appliance-builder/suite.js';

describe('buildAppliance', () => {
  const path = process.env['PATH'];
  let directory: string;
  let output: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'build-'));
    output = join(directory, 'out', 'trixie');
    // No test here may access the archive: apt-get fails with a message.
    const bin = join(directory, 'bin');
    await mkdir(bin);
    await writeFile(
      join(bin, 'apt-get'),
      `#!/bin/sh
[ "$1" = indextargets ] && { echo 'http://mirror.invalid/debian/|trixie|main|Debian'; exit; }
echo 'E: the mirror is out to lunch' >&2
exit 100
`,
    );
    await chmod(join(bin, 'apt-get'), 0o755);
    process.env['PATH'] = `${bin}:${path}`;
  });
  afterEach(async () => {
    process.env['PATH'] = path;
    await rm(directory, { recursive: true });
  });

  async function placeAppliance(change: Record<string, unknown> = {}): Promise<void> {
    await mkdir(output, { recursive: true });
    const files: Record<string, unknown> = {};
    for (const name of ['kernel', 'initrd', 'root']) {
      await writeFile(join(output, name), `the ${name}`);
      files[name] = await describeFile(join(output, name));
    }
    const inputsHash = await hashInputs(findSuite('trixie'));
    const manifest = { formatVersion: MANIFEST_FORMAT, inputsHash, suite: 'trixie', packages: {}, files, ...change };
    await writeFile(join(output, 'manifest.json'), JSON.stringify(manifest));
  }

  it('does nothing when nothing changed', async () => {
    await placeAppliance();
    const result = await buildAppliance({ suite: 'trixie', output });
    expect(result).toMatchObject({ built: false, directory: output, manifest: { suite: 'trixie' } });
    expect(await readdir(join(directory, 'out'))).toEqual(['trixie']);
  });

  const changes: [string, { change?: Record<string, unknown>; cut?: string; options?: object }][] = [
    ['its inputs changed', { change: { inputsHash: 'older' } }],
    ['its format version differs', { change: { formatVersion: 0 } }],
    ['a file was truncated', { cut: 'root' }],
    ['it is asked to', { options: { force: true } }],
    ['it is asked to check for newer packages', { options: { refresh: true } }],
  ];
  it.each(changes)('builds when %s', async (_why, { change, cut, options }) => {
    await placeAppliance(change);
    if (cut !== undefined) await writeFile(join(output, cut), '');
    await expect(buildAppliance({ suite: 'trixie', output, ...options })).rejects.toThrow('apt-get update');
  });

  it('leaves nothing of a failed build, and keeps the previous appliance', async () => {
    await placeAppliance({ inputsHash: 'older' });
    const log: string[] = [];
    const failure = buildAppliance({ suite: 'trixie', output, log: (line) => log.push(line) });
    await expect(failure).rejects.toThrow(
      /^apt-get update\nexited with 100; the end of its output:\nE: the mirror is out to lunch$/,
    );
    expect((await readdir(join(directory, 'out'))).filter((name) => name !== '.trixie.lock')).toEqual(['trixie']);
    expect(await readFile(join(output, 'kernel'), 'utf8')).toBe('the kernel');
  });

  it('removes what a killed build left behind', async () => {
    await mkdir(join(directory, 'out', '.trixie.build-abc123', 'root'), { recursive: true });
    await expect(buildAppliance({ suite: 'trixie', output })).rejects.toThrow();
    expect(await readdir(join(directory, 'out'))).toEqual(['.trixie.lock']);
  });
});
