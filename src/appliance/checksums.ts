/**
 * Compares the files of an appliance with the checksums in its manifest, to detect a changed or damaged file before it
 * is trusted with images.
 *
 * Reading a root image takes about ten seconds of CPU time, most of it for holes. So it is done once for each
 * appliance, in the background, and the result is cached until a file changes, even if only in its times, which only
 * root can restore. A launch waits for the check of the kernel and initrd, which takes a moment, and fails if the root
 * is known to be damaged.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { access, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { GuestfsError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { makePrivateDirectory } from '../common/privateDirectory.js';
import { runTool } from '../common/subprocess.js';
import { APPLIANCE_FILES, type OpenAppliance } from './appliance.js';

/** A file of an appliance, and its expected checksum. */
interface CheckedFile {
  readonly file: FileHandle;
  /** Its checksum in the manifest. */
  readonly expected: string;
  readonly path: string;
  /** Where the result of the check is cached. */
  readonly cacheDirectory: string;
}

/** A slow disk takes a minute. */
const LIMIT_MS = 600_000;
const MAX_OUTPUT_BYTES = 4096;

export class ApplianceChecksums {
  readonly #logger: Logger;
  /** What is wrong with each file, by its identity; undefined if nothing. */
  readonly #checks = new Map<string, Promise<string | undefined>>();
  /** For files that are known to be damaged. */
  readonly #bad = new Map<string, string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * Checks the files that have checksums in the manifest.
   * @throws GuestfsError APPLIANCE_UNUSABLE
   */
  async require(appliance: OpenAppliance, cacheDirectory: string): Promise<void> {
    for (const name of APPLIANCE_FILES) {
      const expected = appliance.manifest?.checksums.get(name);
      if (expected === undefined) continue;
      const key = await identityOf(appliance[name], expected);
      const check = this.#check(key, {
        file: appliance[name],
        expected,
        path: join(appliance.directory, name),
        cacheDirectory,
      });
      const wrong = name === 'root' ? this.#bad.get(key) : await check;
      if (wrong !== undefined) throw new GuestfsError('APPLIANCE_UNUSABLE', `${wrong}; rebuild the appliance`);
    }
  }

  /** Resolves when all checks in progress have finished. */
  async settled(): Promise<void> {
    await Promise.all(this.#checks.values());
  }

  #check(key: string, checked: CheckedFile): Promise<string | undefined> {
    let check = this.#checks.get(key);
    if (check === undefined) {
      check = this.#compare(key, checked);
      this.#checks.set(key, check);
    }
    return check;
  }

  async #compare(key: string, { file, expected, path, cacheDirectory }: CheckedFile): Promise<string | undefined> {
    const kept = join(cacheDirectory, `guestfs-grpc-${process.geteuid?.() ?? 0}`, `checked-${key}`);
    // Opened again at once, while the descriptor is certain to be the file's: the appliance is closed after its launch.
    const own = openSync(`/proc/self/fd/${file.fd}`, 'r');
    try {
      // If the cache cannot be used, the file is checked nevertheless.
      if (await isKept(kept).catch(() => false)) return undefined;
      const started = performance.now();
      const actual = await sha256Of(own);
      if (actual !== expected) {
        const wrong = `${path} is not what was built: its checksum is ${actual}, but its manifest has ${expected}`;
        this.#bad.set(key, wrong);
        this.#logger.error('the appliance is damaged or was modified', { path, expected, actual });
        return wrong;
      }
      this.#logger.info('checked the appliance', { path, ms: Math.round(performance.now() - started) });
      await writeFile(kept, '', { mode: 0o600 });
    } catch (error) {
      this.#logger.warn('cannot check the appliance, or cannot cache the result', {
        path,
        reason: messageOf(error),
      });
    } finally {
      closeSync(own);
    }
    return undefined;
  }
}

/** An identity that changes when the file does. */
async function identityOf(file: FileHandle, expected: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
  const facts = [dev, ino, size, mtimeNs, ctimeNs, expected].join(' ');
  return createHash('sha256').update(facts).digest('hex').slice(0, 32);
}

async function isKept(path: string): Promise<boolean> {
  await makePrivateDirectory(join(path, '..'), 0o700);
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Computes a checksum in a separate process with the lowest priority. */
async function sha256Of(fd: number): Promise<string> {
  const { exitCode, stdout, stderr } = await runTool('nice', ['-n', '19', 'sha256sum', '/proc/self/fd/3'], {
    fds: [fd],
    timeoutMs: LIMIT_MS,
    maxOutputBytes: MAX_OUTPUT_BYTES,
    signal: new AbortController().signal,
  });
  if (exitCode !== 0) throw new Error(`sha256sum failed: ${stderr.trim().slice(0, 200)}`);
  return stdout.split(' ', 1).join();
}
