/** The tree that becomes the appliance's root file system. */
import { cp, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import type { Archive } from './archive.js';
import { type BuildContext, run } from './command.js';
import type { Kernel } from './kernel.js';
import {
  KEPT_DIRECTORIES,
  LIBGUESTFS_PACKAGES,
  REMOVED_PATHS,
  selectPackages,
  TMPFILES,
  UDEV_RULES,
  UNPACK_EXCLUDES,
  UNPACK_INCLUDES,
} from './packages.js';
import { findPrograms, installPrograms } from './programs.js';
import { sourceDateEnv } from './sourceDate.js';
import type { Suite } from './suite.js';
import { removeTree } from './tree.js';
import { installUdev } from './udev.js';

/** A root tree and its packages. */
export interface RootTree {
  readonly directory: string;
  /** Version of each package in it. */
  readonly packages: ReadonlyMap<string, string>;
}

/** The parts in Debian's libguestfs package that make up its appliance. */
export interface ApplianceParts {
  readonly packageName: string;
  readonly packageVersion: string;
  /** The unpacked package. */
  readonly tree: string;
  /** Directory with the tar files. */
  readonly directory: string;
  /** The packages in Debian's appliance. */
  readonly listed: readonly string[];
}

/** The tar files to unpack: guestfsd itself, the init script, the udev rule for its port. */
const PARTS = ['daemon.tar.gz', 'init.tar.gz', 'udev-rules.tar.gz'];

/** Downloads libguestfs and unpacks its parts for the appliance, without installing them. */
export async function prepareParts(
  context: BuildContext,
  archive: Archive,
  directory: string,
): Promise<ApplianceParts> {
  const candidates = await archive.candidates(LIBGUESTFS_PACKAGES);
  const packageName = LIBGUESTFS_PACKAGES.find((name) => candidates.has(name));
  if (packageName === undefined) throw new Error(`the archive has none of ${LIBGUESTFS_PACKAGES.join(', ')}`);
  const packageVersion = candidates.get(packageName) ?? '';
  context.log(`guestfsd: ${packageName} ${packageVersion}`);
  const tree = join(directory, 'tree');
  await run(context, 'dpkg-deb', ['-x', await archive.download(packageName, directory), tree]);
  const entries = await readdir(join(tree, 'usr/lib'), { recursive: true });
  const supermin = entries.find((entry) => entry.endsWith('guestfs/supermin.d'));
  if (supermin === undefined) throw new Error(`${packageName} has no supermin.d`);
  const parts = join(tree, 'usr/lib', supermin);
  const listed = (await readFile(join(parts, 'packages'), 'utf8')).split('\n').filter((name) => name !== '');
  return { packageName, packageVersion, tree, directory: parts, listed };
}

/** Makes the root tree at `directory`. */
export async function makeRootTree(
  context: BuildContext,
  suite: Suite,
  archive: Archive,
  parts: ApplianceParts,
  kernel: Kernel,
  busybox: string,
  directory: string,
  fakeroot: Fakeroot,
): Promise<RootTree> {
  const available = await archive.candidates([...parts.listed, ...selectPackages(parts.listed, () => true).packages]);
  const { packages, missing } = selectPackages(parts.listed, (name) => available.has(name));
  if (missing.length > 0) context.log(`not in ${suite.name}: ${missing.join(', ')}`);

  const programs = await findPrograms(context, suite, archive);

  const names = [...packages, ...programs.libraries];
  await installPackages(context, suite, archive, names, kernel.builtAt, directory, fakeroot);
  const installed = parseStatus(await readFile(join(directory, 'var/lib/dpkg/status'), 'utf8'));
  await trim(directory);
  await installPrograms(context, archive, programs, `${directory}.programs`, directory);
  await installUdev(context, directory, busybox);
  const modules = join(directory, 'usr/lib/modules', kernel.version);
  await cp(kernel.modulesDirectory, modules, { recursive: true });
  for (const part of PARTS) {
    await fakeroot.run(context, 'tar', [
      '--extract',
      `--file=${join(parts.directory, part)}`,
      `--directory=${directory}`,
      // The archives record the user who built the package as the owner, and contain
      // directories that are links in this tree.
      '--no-same-owner',
      '--keep-directory-symlink',
      '--no-overwrite-dir',
    ]);
  }
  return { directory, packages: new Map([...installed, ...programs.versions]) };
}

/**
 * Runs commands that see all files as owned by root: directly if the builder
 * is root, otherwise through fakeroot(1).
 */
export class Fakeroot {
  /**
   * @param state where ownership is remembered from one command to the next
   * @param needed false if the builder is root
   */
  constructor(
    private readonly state: string,
    readonly needed: boolean = process.getuid?.() !== 0,
  ) {}

  /** Runs one command, with `env` added to its environment. */
  run(
    context: BuildContext,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    if (!this.needed) return run(context, command, args, { env });
    const memory = [...(existsSync(this.state) ? ['-i', this.state] : []), '-s', this.state];
    return run(context, 'fakeroot', [...memory, '--', command, ...args], { env });
  }
}

async function installPackages(
  context: BuildContext,
  suite: Suite,
  archive: Archive,
  packages: readonly string[],
  sourceDate: Date,
  directory: string,
  fakeroot: Fakeroot,
): Promise<void> {
  const archiveFile = `${directory}.tar`;
  context.log(`installing ${packages.length} packages and their dependencies (mmdebstrap)`);
  const hooks = '/usr/share/mmdebstrap/hooks/maybe-merged-usr';
  await run(
    context,
    'mmdebstrap',
    [
      '--variant=essential',
      `--architectures=${archive.architecture}`,
      // Only root can write a directory whose files belong to root.
      `--format=${fakeroot.needed ? 'tar' : 'directory'}`,
      // What a crash leaves behind is discarded, so there is no need to sync each file, which takes most of the time.
      '--dpkgopt=force-unsafe-io',
      `--include=${packages.join(',')}`,
      ...UNPACK_EXCLUDES.map((path) => `--dpkgopt=path-exclude=${path}`),
      ...UNPACK_INCLUDES.map((path) => `--dpkgopt=path-include=${path}`),
      ...archive.accessOptions.map((option) => `--aptopt=${option.replace(/;$/, '')}`),
      ...(suite.mergeUsr && existsSync(hooks) ? [`--hook-dir=${hooks}`] : []),
      suite.name,
      fakeroot.needed ? archiveFile : directory,
      ...archive.sources,
    ],
    {
      // Scripts of packages write dates: of passwords into /etc/shadow, for example.
      env: sourceDateEnv(sourceDate),
      onLine: (line) => {
        // `I:` lines are the stages; the rest is progress bars and dpkg's output.
        if (line.startsWith('I: ')) context.log(`  ${line.slice(3)}`);
      },
    },
  );
  if (fakeroot.needed) {
    await mkdir(directory);
    await fakeroot.run(context, 'tar', [
      '--extract',
      `--file=${archiveFile}`,
      `--directory=${directory}`,
      '--exclude=./dev/*',
    ]);
    await rm(archiveFile);
  }
}

/** Removes what the appliance does not need. */
async function trim(directory: string): Promise<void> {
  for (const path of REMOVED_PATHS) await removeTree(join(directory, path));
  for (const path of KEPT_DIRECTORIES) await mkdir(join(directory, path), { recursive: true });
  // Always in /usr: in suites older than the /usr merge, the paths outside it are links.
  await keepOnly(join(directory, 'usr/lib/udev/rules.d'), UDEV_RULES);
  await keepOnly(join(directory, 'usr/lib/tmpfiles.d'), TMPFILES);
}

async function keepOnly(directory: string, patterns: readonly RegExp[]): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!patterns.some((pattern) => pattern.test(name))) await rm(join(directory, name));
  }
}

/** Reads the versions of the installed packages from a dpkg status file. */
export function parseStatus(text: string): Map<string, string> {
  const versions = new Map<string, string>();
  for (const stanza of text.split('\n\n')) {
    const name = /^Package: (.*)$/m.exec(stanza)?.[1];
    const version = /^Version: (.*)$/m.exec(stanza)?.[1];
    if (name !== undefined && version !== undefined && /^Status: .* installed$/m.test(stanza)) {
      versions.set(name, version);
    }
  }
  return versions;
}
