/**
 * Module hooks for Node.js that put a simulated host under the real server: the modules through which the code in `src`
 * reaches files, programs and chance are replaced by those in `host`. They run in a separate thread.
 */
import type { ResolveHook } from 'node:module';

const SRC = new URL('../../src/', import.meta.url).href;
const HOST = new URL('./host/', import.meta.url).href;

/** Modules of Node.js, for all of `src`. */
const NODE: Readonly<Record<string, string>> = {
  'node:crypto': 'crypto.js',
  'node:fs': 'syncFiles.js',
  'node:fs/promises': 'files.js',
  'node:net': 'net.js',
  'node:os': 'os.js',
};

/** Modules of `src`, for the others. */
const OWN: Readonly<Record<string, string>> = {
  'common/memoryFile.js': 'memoryFiles.js',
  'common/tempDir.js': 'runDirectories.js',
  'images/prepareDrives.js': 'drives.js',
  'jail/cgroups.js': 'cgroups.js',
  'jail/jail.js': 'programs.js',
  'launcher/bootFiles.js': 'bootFiles.js',
  'qemu/qemuJail.js': 'qemuPlan.js',
};

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  if (context.parentURL?.startsWith(SRC) !== true) return nextResolve(specifier, context);
  const own = specifier.startsWith('.') ? new URL(specifier, context.parentURL).href : '';
  const replaced = own.startsWith(SRC) ? OWN[own.slice(SRC.length)] : NODE[specifier];
  return replaced === undefined
    ? nextResolve(specifier, context)
    : { url: new URL(replaced, HOST).href, shortCircuit: true };
};
