/**
 * Finds out whether KVM works, by booting, and remembers what came out.
 *
 * A verdict holds until something changes that it depends on: the host's kernel
 * or processor, qemu, the rights on the device, or who asks. It is kept in the
 * cache directory, so that of all servers on a host one waits for it, once.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { cpus, release, version } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { makePrivateDirectory } from '../common/privateDirectory.js';
import { hostArchitecture } from '../qemu/arch.js';
import { findKvmDevice, groupsForKvm, KVM_DEVICE, type KvmDevice } from '../qemu/kvmDevice.js';
import { fingerprintOf } from '../qemu/qemuBinary.js';
import type { BootRequest, BootTest } from './kvmBootTest.js';

/** Whether KVM works here. */
export interface KvmVerdict {
  readonly usable: boolean;
  /** Why not, as the end of a sentence; empty when it works. */
  readonly reason: string;
}

/** What a verdict is asked for. */
export interface VerdictRequest extends Omit<BootRequest, 'groups'> {
  readonly cacheDirectory: string;
}

/** Gives verdicts; those who ask at the same time wait for the same test. */
export interface AcceleratorProbe {
  /** Never rejects: a test that fails is a verdict. Takes at most 5 s the first time. */
  verdict(request: VerdictRequest): Promise<KvmVerdict>;
}

/** What a probe works with. */
export interface AcceleratorProbeOptions {
  readonly logger: Logger;
  readonly test: BootTest;
  /** The server is root, and qemu runs as a user without rights. */
  readonly unprivileged: boolean;
  /** Where the device is; for tests. */
  readonly device?: string;
}

/** A machine that was only slow once is not to be without KVM for ever. */
const HANG_IS_TRUSTED_MS = 24 * 3600_000;

/** Raised when the test changes. */
const TEST_VERSION = 1;

interface Stored extends KvmVerdict {
  readonly testedAt: number;
  readonly hang: boolean;
}

/** Makes a probe. */
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
      logger.warn('the verdict on KVM cannot be kept', { file, reason: messageOf(error) }),
    );
    return stored;
  };

  const onlyOnce = async (file: string, request: VerdictRequest, groups: readonly number[]): Promise<Stored> => {
    let test = running.get(file);
    if (test === undefined) {
      test = runTest(request, groups, file);
      running.set(file, test);
      // The outcome stays: the file may be impossible to write.
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
            reason: `${options.device ?? KVM_DEVICE} can be opened by root only, and qemu does not run as root`,
          };
        const file = join(
          request.cacheDirectory,
          `guestfs-grpc-${process.geteuid?.() ?? 0}`,
          `kvm-${await keyOf(request, device, unprivileged)}.json`,
        );
        const stored = running.has(file) ? undefined : await load(file);
        if (stored === undefined) return await onlyOnce(file, request, groups);
        if (stored.hang && Date.now() - stored.testedAt > HANG_IS_TRUSTED_MS) {
          // Nobody waits for the new verdict; the next ones who ask get it.
          onlyOnce(file, request, groups).catch(() => undefined);
        }
        return stored;
      } catch (error) {
        logger.warn('KVM cannot be tested', { reason: messageOf(error) });
        return { usable: false, reason: `it cannot be tested: ${messageOf(error)}` };
      }
    },
  };
}

async function keyOf({ qemuBinary }: VerdictRequest, device: KvmDevice, unprivileged: boolean): Promise<string> {
  const architecture = hostArchitecture();
  // Whose groups qemu has when it runs as the server's user.
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
    // Not there yet, half written, or not ours: tested anew.
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
