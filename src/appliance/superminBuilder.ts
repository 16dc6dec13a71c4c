/**
 * Builds supermin appliances: from a skeleton that names packages and the files of
 * this host, in the cache directory that libguestfs also uses.
 *
 *     <cache directory>/.guestfs-<uid>/lock           taken by supermin while it builds
 *                                      appliance.d/   kernel, initrd, root; replaced atomically
 *                                      <skeleton>/    the same for every other skeleton than the server's own
 */
import { createHash } from 'node:crypto';
import { realpath, utimes } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import { abortController, unlessAborted } from '../common/waiting.js';
import { GuestfsError, messageOf } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { makePrivateDirectory } from '../common/privateDirectory.js';
import { runTool } from '../common/subprocess.js';
import { APPLIANCE_FILES } from './appliance.js';

/** A build copies a few hundred MB; a slow disk under load needs minutes. */
const BUILD_LIMIT_MS = 15 * 60_000;

/** Where an appliance is cached. */
export interface ApplianceCache {
  readonly directory: string;
  /**
   * libguestfs keeps one appliance for all skeletons. supermin compares only timestamps, and would consider an appliance
   * built from another skeleton up to date. So only the server's own skeleton uses the shared directory: other clients
   * must not get an appliance built from a client's skeleton.
   */
  readonly place: 'shared with libguestfs' | 'of the skeleton';
}

/** Builds appliances; concurrent requests for the same one share a build. */
export interface SuperminBuilder {
  /**
   * Brings the appliance of a `supermin.d` directory up to date.
   * @returns the directory with its files
   * @throws GuestfsError `APPLIANCE_UNUSABLE`, or the reason of `signal`
   */
  build(skeleton: string, cache: ApplianceCache, signal: AbortSignal): Promise<string>;
}

/** Creates a builder; `supermin` is the command. */
export function createSuperminBuilder(logger: Logger, supermin = 'supermin'): SuperminBuilder {
  const running = new Map<string, Promise<string>>();
  return {
    build: async (skeleton, cache, signal) => {
      signal.throwIfAborted();
      const key = `${skeleton}\0${cache.directory}\0${cache.place}`;
      let build = running.get(key);
      if (build === undefined) {
        build = run(supermin, skeleton, cache, logger).finally(() => running.delete(key));
        running.set(key, build);
      }
      return unlessAborted(build, signal);
    },
  };
}

/** Runs supermin. Not aborted with its caller, since others may be waiting for the same build. */
async function run(supermin: string, wanted: string, cache: ApplianceCache, logger: Logger): Promise<string> {
  const { skeleton, place } = await placeOf(wanted, cache);
  const output = join(place, 'appliance.d');
  const args = [
    '--build',
    '--if-newer',
    '--lock',
    join(place, 'lock'),
    '--copy-kernel',
    '-f',
    'ext2',
    '--host-cpu',
    hostCpu(),
    skeleton,
    '-o',
    output,
  ];
  const started = performance.now();
  const result = await runTool(supermin, args, {
    timeoutMs: BUILD_LIMIT_MS,
    maxOutputBytes: 4 << 20,
    signal: abortController().signal,
  }).catch((error: unknown) => {
    throw new GuestfsError(
      'APPLIANCE_UNUSABLE',
      `cannot start supermin to build the appliance of ${skeleton}: ${messageOf(error)}`,
      { cause: error },
    );
  });
  if (result.exitCode !== 0) {
    const words = (result.stderr.trim() || result.stdout.trim()).slice(-1000);
    throw new GuestfsError(
      'APPLIANCE_UNUSABLE',
      `supermin cannot build the appliance of ${skeleton}: ${result.overLimit ? 'it took too long' : words}`,
    );
  }
  // supermin compares these times with those of the packages, and the kernel's is the time at which it was packaged:
  // without the touch, supermin would rebuild each time. It also keeps cache cleaners away.
  const now = new Date();
  await Promise.all(APPLIANCE_FILES.map((name) => utimes(join(output, name), now, now).catch(() => undefined)));
  logger.debug('supermin appliance is up to date', { skeleton, output, ms: Math.round(performance.now() - started) });
  return output;
}

/** The directory in which an appliance is built, and its skeleton. */
async function placeOf(
  skeleton: string,
  cache: ApplianceCache,
): Promise<{ readonly skeleton: string; readonly place: string }> {
  const users = await privateCache(join(cache.directory, `.guestfs-${process.geteuid?.() ?? 0}`));
  if (cache.place === 'shared with libguestfs') return { skeleton, place: users };
  // The resolved path: a symbolic link could be redirected to another skeleton before supermin reads it.
  const real = await realpath(skeleton).catch((error: unknown) => {
    throw new GuestfsError('APPLIANCE_UNUSABLE', `the appliance of ${skeleton} cannot be built: ${messageOf(error)}`, {
      cause: error,
    });
  });
  return { skeleton: real, place: await privateCache(join(users, createHash('sha256').update(real).digest('hex'))) };
}

/** A cache directory that only this user can write. */
async function privateCache(path: string): Promise<string> {
  try {
    // World-readable, like libguestfs's own, since qemu may run as another user.
    await makePrivateDirectory(path, 0o755);
    return path;
  } catch (error) {
    throw new GuestfsError('APPLIANCE_UNUSABLE', `the appliance cache ${path} is unusable: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function hostCpu(): string {
  const name = arch();
  return name === 'x64' ? 'x86_64' : name === 'arm64' ? 'aarch64' : name;
}
