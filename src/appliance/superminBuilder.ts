/**
 * Builds supermin appliances: a skeleton that names packages becomes an
 * appliance from the files of this host, in the cache that libguestfs uses too.
 *
 *     <cache directory>/.guestfs-<uid>/lock           taken by supermin while it builds
 *                                      appliance.d/   kernel, initrd, root; replaced as a whole
 */
import { utimes } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import { abortable } from '../common/abort.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { makePrivateDirectory } from '../common/privateDirectory.js';
import { runTool } from '../common/subprocess.js';
import { APPLIANCE_FILES } from './appliance.js';

/** A build copies a few hundred MB; a slow disk under load needs minutes. */
const BUILD_LIMIT_MS = 15 * 60_000;

/** Builds appliances, and only once for those who ask at the same time. */
export interface SuperminBuilder {
  /**
   * Brings the appliance of a `supermin.d` directory up to date.
   * @returns the directory with its files
   * @throws GuestfsError `APPLIANCE_UNUSABLE`, or the reason of `signal`
   */
  build(skeleton: string, cacheDirectory: string, signal: AbortSignal): Promise<string>;
}

/** Makes a builder; `supermin` is the command. */
export function createSuperminBuilder(logger: Logger, supermin = 'supermin'): SuperminBuilder {
  const running = new Map<string, Promise<string>>();
  return {
    build: async (skeleton, cacheDirectory, signal) => {
      signal.throwIfAborted();
      const key = `${skeleton}\0${cacheDirectory}`;
      let build = running.get(key);
      if (build === undefined) {
        build = run(supermin, skeleton, cacheDirectory, logger).finally(() => running.delete(key));
        running.set(key, build);
      }
      return abortable(build, signal);
    },
  };
}

/** Not stopped when the one who asked goes away: others wait for it, or will. */
async function run(supermin: string, skeleton: string, cacheDirectory: string, logger: Logger): Promise<string> {
  const cache = await privateCache(cacheDirectory);
  const output = join(cache, 'appliance.d');
  const args = ['--build', '--if-newer', '--lock', join(cache, 'lock'), '--copy-kernel', '-f', 'ext2', '--host-cpu', hostCpu(), skeleton, '-o', output];
  const started = performance.now();
  const result = await runTool(supermin, args, { timeoutMs: BUILD_LIMIT_MS, maxOutputBytes: 4 << 20, signal: new AbortController().signal }).catch(
    (error: unknown) => {
      throw new GuestfsError('APPLIANCE_UNUSABLE', `the appliance of ${skeleton} needs supermin, which cannot be started: ${messageOf(error)}`, { cause: error });
    },
  );
  if (result.exitCode !== 0) {
    const words = (result.stderr.trim() || result.stdout.trim()).slice(-1000);
    throw new GuestfsError('APPLIANCE_UNUSABLE', `supermin cannot build the appliance of ${skeleton}: ${result.overLimit ? 'it takes too long' : words}`);
  }
  // supermin compares these times with those of the packages, and the kernel keeps the time
  // it was packaged: untouched, it would be built anew each time. It also keeps cleaners away.
  const now = new Date();
  await Promise.all(APPLIANCE_FILES.map((name) => utimes(join(output, name), now, now).catch(() => undefined)));
  logger.debug('supermin appliance is up to date', { skeleton, output, ms: Math.round(performance.now() - started) });
  return output;
}

/** The cache directory of this user. */
async function privateCache(cacheDirectory: string): Promise<string> {
  const cache = join(cacheDirectory, `.guestfs-${process.geteuid?.() ?? 0}`);
  try {
    // Readable by all: so libguestfs makes it, and qemu may run as another user.
    await makePrivateDirectory(cache, 0o755);
    return cache;
  } catch (error) {
    throw new GuestfsError('APPLIANCE_UNUSABLE', `the cache of appliances, ${cache}, cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

function hostCpu(): string {
  const name = arch();
  return name === 'x64' ? 'x86_64' : name === 'arm64' ? 'aarch64' : name;
}
