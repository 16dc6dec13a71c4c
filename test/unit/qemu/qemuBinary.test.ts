import { chmod, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { hostArchitecture } from '../../../src/qemu/arch.js';
import { groupsForKvm } from '../../../src/qemu/kvmDevice.js';
import { openForEverybody } from '../../../src/qemu/plainFile.js';
import { fingerprintOf, locateQemu } from '../../../src/qemu/qemuBinary.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'qemu-'));
});
afterEach(() => rm(directory, { recursive: true }));

describe('the qemu', () => {
  it('is found by path', async () => {
    const path = join(directory, 'qemu');
    await writeFile(path, '');
    await expect(locateQemu(path)).rejects.toMatchObject({
      reason: 'QEMU_MISSING',
      message: expect.stringContaining('not an executable file'),
    });
    await chmod(path, 0o755);
    await expect(locateQemu(path)).resolves.toBe(path);
  });

  it('is found by name', async () => {
    await expect(locateQemu('sh')).resolves.toMatch(/\/sh$/);
    await expect(locateQemu('qemu-system-none')).rejects.toMatchObject({
      reason: 'QEMU_MISSING',
      message: 'qemu-system-none is not installed on the server',
    });
  });

  it('is not a directory', async () => {
    await expect(locateQemu(directory)).rejects.toMatchObject({ reason: 'QEMU_MISSING' });
  });

  it('has another fingerprint after an update', async () => {
    const path = join(directory, 'qemu');
    await writeFile(path, 'a');
    const before = await fingerprintOf(path);
    await expect(fingerprintOf(path)).resolves.toBe(before);
    await writeFile(path, 'ab');
    await expect(fingerprintOf(path)).resolves.not.toBe(before);
  });

  it('exists for two architectures', () => {
    expect([hostArchitecture('x64').name, hostArchitecture('arm64').name]).toEqual(['x86_64', 'aarch64']);
    expect(() => hostArchitecture('riscv64')).toThrow(/riscv64 is not supported/);
  });
});

describe('groups for /dev/kvm', () => {
  const device = { uid: 0, gid: 107, rdev: 1, mode: 0o660 };
  it.each([
    ['the one of the device', device, [107]],
    ['none when everybody may open it', { ...device, mode: 0o666 }, []],
    ['not that of root', { ...device, gid: 0 }, undefined],
    ['of no use when only the owner may open it', { ...device, mode: 0o600 }, undefined],
  ])('are %s', (_what, facts, groups) => {
    expect(groupsForKvm(facts)).toEqual(groups);
  });
});

describe('a file for another user', () => {
  it.each([
    [0o644, true, true],
    [0o600, false, true],
    [0o600, true, false],
  ])('with mode %o, others: %s, is the same file: %s', async (mode, others, same) => {
    const path = join(directory, 'kernel');
    await writeFile(path, 'content', { mode });
    const file = await open(path);
    const plain = await openForEverybody(file, directory, 'copy', others);
    expect(plain.handle === file).toBe(same);
    expect((await plain.handle.stat()).mode & 0o444).toBe(same ? mode & 0o444 : 0o444);
    expect(await readFile(`/proc/self/fd/${plain.handle.fd}`, 'utf8')).toBe('content');
    expect(await readdir(directory)).toEqual(['kernel']);
    await plain.close();
    await file.close();
  });
});
