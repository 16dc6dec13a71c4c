/**
 * Tests whether KVM works by booting a kernel, and caches the result.
 *
 * A result is valid until something it depends on changes: the host's kernel or
 * processor, qemu, the permissions on the device, or the user who runs the test.
 * It is stored in the cache directory, so only one server on a host has to run
 * the test, and only once.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { cpus, release, version } from 'node:os';
import { join } from 'node:path';
import { GuestfsError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { makePrivateDirectory } from '../common/privateDirectory.js';
import { hostArchitecture } from '../qemu/arch.js';
import { findKvmDevice, groupsForKvm, KVM_DEVICE, type KvmDevice } from '../qemu/kvmDevice.js';
import { fingerprintOf } from '../qemu/qemuBinary.js';
import type { BootRequest, BootTest } from './kvmBootTest.js';

/** Whether KVM works here. */
export interface KvmVerdict {
  readonly usable: boolean;
  /** Why not, as the end of a sentence; empty if it works. */
  readonly reason: string;
}

/** What the test needs in addition to the groups, and where its result is cached. */
export interface VerdictRequest extends Omit<BootRequest, 'groups'> {
  readonly cacheDirectory: string;
}

/** Gives verdicts; concurrent requests share one test. */
export interface AcceleratorProbe {
  /**
   * A test that cannot be run is a verdict, too. Takes at most 5 s the first time.
   * @throws Error if the host has run out of something that the test needs
   */
  verdict(request: VerdictRequest): Promise<KvmVerdict>;
}

/** What a probe works with. */
export interface AcceleratorProbeOptions {
  readonly logger: Logger;
  readonly test: BootTest;
  /** Whether the server is root and qemu runs as an unprivileged user. */
  readonly unprivileged: boolean;
  /** Path of the device; for tests. */
  readonly device?: string;
}

/** A host that was only slow once must not lose KVM permanently. */
const HANG_IS_TRUSTED_MS = 24 * 3600_000;

/** Incremented when the test changes. */
const TEST_VERSION = 1;

interface Stored extends KvmVerdict {
  readonly testedAt: number;
  readonly hang: boolean;
}

const EXHAUSTED: ReadonlySet<string> = new Set(['LIMIT_EXCEEDED', 'OUT_OF_MEMORY', 'ENOSPC', 'EDQUOT']);

/** Creates a probe. */
export function createAcceleratorProbe(options: AcceleratorProbeOptions): AcceleratorProbe {
  const { logger, test, unprivileged } = options;
  const running = new Map<string, Promise<Stored>>();

  const runTest = async (request: VerdictRequest, groups: readonly number[], file: string): Promise<Stored> => {
    const started = performance.now();
    const outcome = await test({ ...request, groups });
    const stored = { usable: outcome.usable, reason: outcome.reason, hang: outcome.hang, testedAt: Date.now() };
    logger.info('tested KVM by booting', {
      usable: stored.usable,
      reason: stored.reason,
      ms: Math.round(performance.now() - started),
    });
    await store(file, stored).catch((error: unknown) =>
      logger.warn('cannot cache the result of the KVM boot test', { file, reason: messageOf(error) }),
    );
    return stored;
  };

  const onlyOnce = async (file: string, request: VerdictRequest, groups: readonly number[]): Promise<Stored> => {
    let test = running.get(file);
    if (test === undefined) {
      test = runTest(request, groups, file);
      running.set(file, test);
      // A result stays in memory: the cache file may not be writable.
      test.catch(() => running.delete(file));
    }
    return test;
  };

  return {
    verdict: async (request) => {
      try {
        const device = await findKvmDevice(options.device);
        if (device === undefined) return { usable: false, reason: `${options.device ?? KVM_DEVICE} does not exist` };
        const groups = unprivileged ? groupsForKvm(device) : [];
        if (groups === undefined)
          return {
            usable: false,
            reason: `only root can open ${options.device ?? KVM_DEVICE}, and qemu does not run as root`,
          };
        const file = join(
          request.cacheDirectory,
          `guestfs-grpc-${process.geteuid?.() ?? 0}`,
          `kvm-${await keyOf(request, device, unprivileged)}.json`,
        );
        const stored = running.has(file) ? undefined : await load(file);
        if (stored === undefined) return await onlyOnce(file, request, groups);
        if (stored.hang && Date.now() - stored.testedAt > HANG_IS_TRUSTED_MS) {
          // The test runs again in the background; later requests get its result.
          onlyOnce(file, request, groups).catch(() => undefined);
        }
        return stored;
      } catch (error) {
        // A host that has run out of something says nothing about KVM.
        if (EXHAUSTED.has(GuestfsError.from(error).reason)) throw error;
        logger.warn('the KVM boot test could not run', { reason: messageOf(error) });
        return { usable: false, reason: `the boot test could not run: ${messageOf(error)}` };
      }
    },
  };
}

async function keyOf({ qemuBinary }: VerdictRequest, device: KvmDevice, unprivileged: boolean): Promise<string> {
  const architecture = hostArchitecture();
  // When qemu runs as the server's user, it has the server's groups.
  const groups = unprivileged ? [] : [process.getegid?.(), ...(process.getgroups?.() ?? [])];
  const facts = [
    TEST_VERSION,
    await fingerprintOf(qemuBinary),
    architecture.machine,
    architecture.cpu.kvm,
    release(),
    version(),
    cpus()[0]?.model,
    device,
    unprivileged,
    groups,
  ];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
}

async function load(file: string): Promise<Stored | undefined> {
  try {
    await makePrivateDirectory(join(file, '..'), 0o700);
    const value = JSON.parse(await readFile(file, 'utf8')) as Partial<Stored>;
    const { usable, reason, testedAt, hang } = value;
    if (
      typeof usable !== 'boolean' ||
      typeof reason !== 'string' ||
      typeof testedAt !== 'number' ||
      typeof hang !== 'boolean'
    )
      return undefined;
    return { usable, reason, testedAt, hang };
  } catch {
    // Missing, incomplete, or owned by another user: run the test again.
    return undefined;
  }
}

async function store(file: string, stored: Stored): Promise<void> {
  await makePrivateDirectory(join(file, '..'), 0o700);
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(temporary, JSON.stringify(stored), { flag: 'wx', mode: 0o600 });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
