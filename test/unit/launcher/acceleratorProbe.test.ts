import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import { createAcceleratorProbe, type VerdictRequest } from '../../../src/launcher/acceleratorProbe.js';
import type { BootOutcome } from '../../../src/launcher/kvmBootTest.js';

const WORKS: BootOutcome = { usable: true, reason: '', hang: false };
const ABORTS: BootOutcome = { usable: false, reason: 'qemu ended with SIGABRT', hang: false };
/** A character device that everyone can open, in place of the real one. */
const DEVICE = '/dev/null';

let directory: string;
let request: VerdictRequest;
let boots: number;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'probe-'));
  await writeFile(join(directory, 'qemu'), 'one');
  request = {
    qemuBinary: join(directory, 'qemu'),
    kernelPath: '/kernel',
    temporaryDirectory: directory,
    cacheDirectory: join(directory, 'cache'),
  };
  boots = 0;
});
afterEach(() => rm(directory, { recursive: true }));

function probeOf(outcome: BootOutcome | Error, device = DEVICE) {
  return createAcceleratorProbe({
    logger: silentLogger,
    unprivileged: true,
    device,
    test: async () => {
      boots += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (outcome instanceof Error) throw outcome;
      return outcome;
    },
  });
}

/** The only file in the cache. */
async function cacheFile(): Promise<string> {
  const cache = join(request.cacheDirectory, `guestfs-grpc-${process.geteuid?.() ?? 0}`);
  const [name] = await readdir(cache);
  return join(cache, name ?? '');
}

describe('the verdict on KVM', () => {
  it('takes one boot for concurrent requests', async () => {
    const probe = probeOf(ABORTS);
    const verdicts = await Promise.all([probe.verdict(request), probe.verdict(request), probe.verdict(request)]);
    expect(verdicts.map(({ usable, reason }) => [usable, reason])).toEqual(
      Array(3).fill([false, 'qemu ended with SIGABRT']),
    );
    expect(boots).toBe(1);
  });

  it.each([WORKS, ABORTS])('is remembered by later servers: %j', async (outcome) => {
    await probeOf(outcome).verdict(request);
    await expect(probeOf(outcome.usable ? ABORTS : WORKS).verdict(request)).resolves.toMatchObject({
      usable: outcome.usable,
    });
    expect(boots).toBe(1);
  });

  it('is determined anew when qemu changes', async () => {
    await probeOf(ABORTS).verdict(request);
    await writeFile(request.qemuBinary, 'another');
    await expect(probeOf(WORKS).verdict(request)).resolves.toMatchObject({ usable: true });
    expect(boots).toBe(2);
  });

  it('is determined anew if the cached one is invalid', async () => {
    await probeOf(ABORTS).verdict(request);
    await writeFile(await cacheFile(), '{"usable": tr');
    await expect(probeOf(WORKS).verdict(request)).resolves.toMatchObject({ usable: true });
    expect(boots).toBe(2);
  });

  it('is not trusted if another user could have written it', async () => {
    await probeOf(ABORTS).verdict(request);
    await chmod(join(await cacheFile(), '..'), 0o777);
    await expect(probeOf(WORKS).verdict(request)).resolves.toMatchObject({ usable: true });
  });

  it('about an appliance that hung is determined anew after a day, in the background', async () => {
    await probeOf({ usable: false, reason: 'silence', hang: true }).verdict(request);
    const file = await cacheFile();
    await writeFile(
      file,
      JSON.stringify({ usable: false, reason: 'silence', hang: true, testedAt: Date.now() - 25 * 3600_000 }),
    );
    const probe = probeOf(WORKS);
    await expect(probe.verdict(request)).resolves.toMatchObject({ usable: false });
    await expect(probe.verdict(request)).resolves.toMatchObject({ usable: true });
    expect(boots).toBe(2);
  });

  it('needs no boot if there is no device', async () => {
    await expect(probeOf(WORKS, '/dev/no-such').verdict(request)).resolves.toEqual({
      usable: false,
      reason: '/dev/no-such does not exist',
    });
    expect(boots).toBe(0);
  });

  it('exists even if the test cannot be run, and is not cached then', async () => {
    await expect(probeOf(new Error('no space')).verdict(request)).resolves.toMatchObject({
      usable: false,
      reason: expect.stringContaining('no space'),
    });
    await expect(probeOf(WORKS).verdict(request)).resolves.toMatchObject({ usable: true });
  });

  it.each(['EMFILE', 'ENOSPC', 'ENOMEM'])('is not given if the host has run out of something: %s', async (code) => {
    const exhausted = Object.assign(new Error(code), { code });
    await expect(probeOf(exhausted).verdict(request)).rejects.toBe(exhausted);
    await expect(probeOf(WORKS).verdict(request)).resolves.toMatchObject({ usable: true });
  });
});
