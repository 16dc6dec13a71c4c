import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import type { ProbedImage } from '../../../src/images/foreignProbe.js';
import { createPreflight, type PreflightConfig } from '../../../src/launcher/preflight.js';
import { createQemuUsers } from '../../../src/qemu/qemuUsers.js';

const signal = new AbortController().signal;

it("measures images by the server's own qemu, which need not be on the PATH", async () => {
  const { imageProbe } = createPreflight({
    logger: silentLogger,
    users: createQemuUsers(),
    qemuBinary: '/nosuch/qemu',
  });
  await expect(imageProbe({} as ProbedImage, 'vdi', 'it', signal)).rejects.toMatchObject({
    reason: 'QEMU_MISSING',
    message: expect.stringContaining('/nosuch/qemu'),
  });
});

it('builds supermin appliances of others separately from its own, and only if allowed', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'preflight-'));
  try {
    for (const name of ['own', 'other']) {
      mkdirSync(join(directory, name, 'supermin.d'), { recursive: true });
      // An option unknown to supermin, which exits at once.
      for (const file of ['base.tar.gz', 'packages']) writeFileSync(join(directory, name, 'supermin.d', file), '!');
    }
    const options = { logger: silentLogger, users: createQemuUsers(), appliancePath: join(directory, 'own') };
    const preflight = createPreflight({ ...options, anySkeleton: true });
    const configFor = (name: string): PreflightConfig => ({
      accelerator: 'tcg',
      qemuBinary: '/bin/sh',
      appliancePath: join(directory, name),
      temporaryDirectory: directory,
      cacheDirectory: directory,
    });
    const placesAfter = async (name: string): Promise<string[]> => {
      await expect(preflight.run(configFor(name), signal)).rejects.toMatchObject({ reason: 'APPLIANCE_UNUSABLE' });
      return readdirSync(join(directory, `.guestfs-${process.geteuid?.() ?? 0}`)).filter((place) => place !== 'lock');
    };
    expect(await placesAfter('own')).toEqual([]);
    expect(await placesAfter('other')).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
    const cautious = createPreflight(options);
    await expect(cautious.run(configFor('own'), signal)).rejects.toMatchObject({ reason: 'APPLIANCE_UNUSABLE' });
    await expect(cautious.run(configFor('other'), signal)).rejects.toMatchObject({
      reason: 'NOT_ALLOWED',
      message: expect.stringContaining('--allow custom-qemu'),
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
