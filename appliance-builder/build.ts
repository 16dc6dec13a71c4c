/** A build from beginning to end. */
import { copyFile, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

import { Archive } from './archive.js';
import { type BuildContext, type Log, run } from './command.js';
import { installCopyrights } from './copyrights.js';
import { makeImage, uuidFrom } from './image.js';
import { makeInitrd } from './initrd.js';
import { hashInputs } from './inputs.js';
import { prepareKernel } from './kernel.js';
import { defaultApplianceDirectory } from './location.js';
import { acquireLock } from './lock.js';
import {
  describeFile,
  type Manifest,
  MANIFEST_FILE,
  MANIFEST_FORMAT,
  readManifest,
  upstreamVersion,
} from './manifest.js';
import { BUSYBOX_PACKAGE } from './packages.js';
import { readmeFixed } from './readme.js';
import { Fakeroot, makeRootTree, prepareParts } from './rootfs.js';
import { DEFAULT_SUITE, findSuite, type Suite } from './suite.js';
import { removeTree } from './tree.js';

/** What to build, and when. */
export interface BuildOptions {
  /** Debian suite; trixie if not given. */
  readonly suite?: string;
  /** Directory to create; {@link defaultApplianceDirectory} if not given. */
  readonly output?: string;
  /** Receives the progress of the build, line by line. */
  readonly log?: Log;
  /** Build even if nothing changed. */
  readonly force?: boolean;
  /** Ask the archive for newer packages, and build if there are any. */
  readonly refresh?: boolean;
  /** Cancels the build and removes everything it has written. */
  readonly signal?: AbortSignal;
}

/** Outcome of {@link buildAppliance}. */
export interface BuildResult {
  readonly directory: string;
  readonly manifest: Manifest;
  /** False if the existing appliance was up to date. */
  readonly built: boolean;
}

/**
 * Builds a fixed appliance, unless the existing one is up to date.
 *
 * The output directory appears, or is replaced, in one step at the end: a
 * failed build leaves the previous appliance untouched. Running machines keep
 * theirs, as they have its files open.
 * @throws BuildCommandError if a program that it runs fails
 */
export async function buildAppliance(options: BuildOptions = {}): Promise<BuildResult> {
  const suite = findSuite(options.suite ?? DEFAULT_SUITE);
  const directory = resolve(options.output ?? defaultApplianceDirectory(suite.name));
  const context: BuildContext = {
    log: options.log ?? (() => undefined),
    signal: options.signal ?? new AbortController().signal,
  };
  const inputsHash = await hashInputs(suite);
  const always = options.force === true || options.refresh === true;
  const present = await presentAppliance(directory, inputsHash);
  if (present !== undefined && !always) return { directory, manifest: present, built: false };

  await mkdir(dirname(directory), { recursive: true });
  const prefix = `.${basename(directory)}.build-`;
  const lock = await acquireLock(context, join(dirname(directory), `.${basename(directory)}.lock`));
  try {
    // Another process may have built it while we waited.
    const meanwhile = await presentAppliance(directory, inputsHash);
    if (meanwhile !== undefined && !always) return { directory, manifest: meanwhile, built: false };
    await removeLeftovers(dirname(directory), prefix);
    const work = await mkdtemp(join(dirname(directory), prefix));
    try {
      const archive = await Archive.open(context, suite, join(work, 'apt'));
      if (meanwhile !== undefined && options.force !== true && !(await hasNewer(context, archive, meanwhile))) {
        return { directory, manifest: meanwhile, built: false };
      }
      const manifest = await buildInto(context, suite, archive, inputsHash, work);
      await replaceDirectory(join(work, 'appliance'), directory, join(work, 'old'));
      return { directory, manifest, built: true };
    } finally {
      await removeTree(work);
    }
  } finally {
    await lock.release();
  }
}

/** The manifest of the appliance at `directory`, if it is complete and was built from these inputs. */
async function presentAppliance(directory: string, inputsHash: string): Promise<Manifest | undefined> {
  const manifest = await readManifest(directory);
  if (manifest === undefined || manifest.inputsHash !== inputsHash) return undefined;
  for (const [name, { size }] of Object.entries(manifest.files)) {
    const found = await stat(join(directory, name)).catch(() => undefined);
    if (found?.size !== size) return undefined;
  }
  return manifest;
}

/** Removes what killed builds left behind; holding the lock means that no build is running. */
async function removeLeftovers(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix)) await removeTree(join(parent, name));
  }
}

/** Whether the archive has other versions of the appliance's packages. */
async function hasNewer(context: BuildContext, archive: Archive, manifest: Manifest): Promise<boolean> {
  const candidates = await archive.candidates(Object.keys(manifest.packages));
  const changed = Object.entries(manifest.packages).filter(([name, version]) => candidates.get(name) !== version);
  // A new kernel comes as a package with a new name; the old one stays for a while.
  const meta = await archive.depends(`linux-image-${archive.architecture}`);
  const kernelIsNewest =
    meta.includes(`linux-image-${manifest.kernelVersion} `) || meta.includes(`linux-image-${manifest.kernelVersion},`);
  if (changed.length === 0 && kernelIsNewest) {
    context.log('the archive has nothing newer');
    return false;
  }
  const names = changed.map(([name]) => name);
  context.log(
    `newer in the archive: ${(kernelIsNewest ? names : [`linux-image-${archive.architecture}`, ...names]).join(', ')}`,
  );
  return true;
}

/** Builds `<work>/appliance`. */
async function buildInto(
  context: BuildContext,
  suite: Suite,
  archive: Archive,
  inputsHash: string,
  work: string,
): Promise<Manifest> {
  const output = join(work, 'appliance');
  await mkdir(output);
  const fakeroot = new Fakeroot(join(work, 'fakeroot.state'));
  const parts = await prepareParts(context, archive, join(work, 'libguestfs'));
  const kernel = await prepareKernel(context, archive, join(work, 'kernel'));

  const busyboxTree = join(work, 'busybox');
  const busyboxFile = await archive.download(BUSYBOX_PACKAGE, join(work, 'busybox.deb'));
  await run(context, 'dpkg-deb', ['-x', busyboxFile, busyboxTree]);
  const busybox = await firstFile([join(busyboxTree, 'usr/bin/busybox'), join(busyboxTree, 'bin/busybox')]);
  await writeFile(join(output, 'initrd'), await makeInitrd(kernel, busybox));
  await copyFile(kernel.image, join(output, 'kernel'));

  const tree = await makeRootTree(context, suite, archive, parts, kernel, busybox, join(work, 'root'), fakeroot);
  await installCopyrights([busyboxTree, kernel.tree, parts.tree], tree.directory);
  const extracted = await archive.candidates([BUSYBOX_PACKAGE]);
  const packages = Object.fromEntries(
    [
      ...tree.packages,
      ...extracted,
      [parts.packageName, parts.packageVersion] as const,
      [kernel.packageName, kernel.packageVersion] as const,
    ].sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  const rootUuid = uuidFrom(JSON.stringify([inputsHash, packages]));
  context.log('writing the disk image');
  await makeImage(context, tree.directory, join(output, 'root'), rootUuid, kernel.builtAt, fakeroot);

  const manifest: Manifest = {
    formatVersion: MANIFEST_FORMAT,
    inputsHash,
    suite: suite.name,
    architecture: archive.architecture,
    daemonVersion: upstreamVersion(parts.packageVersion),
    kernelVersion: kernel.version,
    rootUuid,
    packages,
    files: {
      kernel: await describeFile(join(output, 'kernel')),
      initrd: await describeFile(join(output, 'initrd')),
      root: await describeFile(join(output, 'root')),
    },
    sourceDate: kernel.builtAt.toISOString(),
  };
  await writeFile(join(output, 'README.fixed'), readmeFixed(manifest));
  // Last, as its presence marks the appliance as complete.
  await writeFile(join(output, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

async function firstFile(paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    if ((await stat(path).catch(() => undefined))?.isFile()) return path;
  }
  throw new Error(`none of these files exists: ${paths.join(', ')}`);
}

/** Replaces `directory` with `fresh`; the previous directory moves to `old`. */
async function replaceDirectory(fresh: string, directory: string, old: string): Promise<void> {
  await rename(directory, old).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(fresh, directory);
  await rm(join(dirname(old), 'fakeroot.state'), { force: true });
}
