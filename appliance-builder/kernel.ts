/** The kernel of the appliance and the modules that go with it. */
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';

import type { Archive } from './archive.js';
import { decompressKernel } from './bzImage.js';
import { type BuildContext, run } from './command.js';
import { INITRD_MODULES, INITRD_NETWORK_MODULES, KERNEL_MODULES, OPTIONAL_DRIVERS } from './packages.js';
import { withoutSignature } from './moduleSignature.js';

/** An unpacked kernel. */
export interface Kernel {
  /** Version as printed by `uname -r`. */
  readonly version: string;
  /** The Debian package it comes from, and that package's version. */
  readonly packageName: string;
  readonly packageVersion: string;
  /** When Debian built it. */
  readonly builtAt: Date;
  /** The unpacked package. */
  readonly tree: string;
  /** The file to boot. */
  readonly image: string;
  /** `lib/modules/<version>`, pruned and with its indexes. */
  readonly modulesDirectory: string;
  /** The modules that were kept, each with those it depends on. */
  readonly modules: ModuleTree;
}

/** Module files relative to the modules directory, each with those it depends on. */
export type ModuleTree = ReadonlyMap<string, readonly string[]>;

/** Downloads the newest kernel of the archive and unpacks and prunes it below `directory`. */
export async function prepareKernel(context: BuildContext, archive: Archive, directory: string): Promise<Kernel> {
  const meta = `linux-image-${archive.architecture}`;
  const packageName = /\blinux-image-\d\S*/.exec(await archive.depends(meta))?.[0];
  if (packageName === undefined) throw new Error(`the archive's ${meta} depends on no kernel`);
  const packageVersion = (await archive.candidates([packageName])).get(packageName);
  if (packageVersion === undefined) throw new Error(`the archive has no ${packageName}`);
  context.log(`kernel: ${packageName} ${packageVersion}`);

  const tree = join(directory, 'tree');
  // Debian 14 has them in separate packages, which the image's package depends on.
  const parts = [...(await archive.depends(packageName)).matchAll(/\blinux-(?:base|binary|modules)-\d[^\s,]*/g)].map(
    ([name]) => name,
  );
  for (const name of new Set([packageName, ...parts]))
    await run(context, 'dpkg-deb', ['-x', await archive.download(name, directory), tree]);
  // Modules moved from /lib to /usr/lib between releases.
  const above = (await exists(join(tree, 'usr/lib/modules'))) ? join(tree, 'usr') : tree;
  const version = (await readdir(join(above, 'lib/modules')))[0];
  if (version === undefined) throw new Error(`${packageName} has no modules`);
  const modulesDirectory = join(above, 'lib/modules', version);

  const depmod = async (): Promise<ModuleTree> => {
    await run(context, 'depmod', ['-b', above, version]);
    return parseModulesDep(await readFile(join(modulesDirectory, 'modules.dep'), 'utf8'));
  };
  const kept = modulesToKeep(await depmod());
  await pruneModules(modulesDirectory, kept);
  // The appliance would otherwise do this work at every boot, under emulation.
  await decompressAll(context, modulesDirectory);
  await removeSignatures(modulesDirectory);
  const modules = await depmod();
  const builtIn = new Set(
    (await readFile(join(modulesDirectory, 'modules.builtin'), 'utf8')).split('\n').map(moduleName),
  );
  checkDrivers([...modules.keys()].map(moduleName), builtIn);

  const image = join(directory, 'kernel');
  const inBoot = join(tree, 'boot', `vmlinuz-${version}`);
  const packed = (await exists(inBoot)) ? inBoot : join(modulesDirectory, 'vmlinuz');
  const compressed = await readFile(packed);
  // As the package has it, because dpkg-deb keeps it.
  const { mtime: builtAt } = await stat(packed);
  await writeFile(image, (await decompressKernel(context, compressed)) ?? compressed);
  return { version, packageName, packageVersion, builtAt, tree, image, modulesDirectory, modules };
}

/**
 * Checks that the modules that the initrd loads exist or are built into the
 * kernel. Otherwise a driver renamed in a new kernel would go unnoticed until
 * an appliance boots.
 */
export function checkDrivers(modules: readonly string[], builtIn: ReadonlySet<string>): void {
  const present = new Set([...modules, ...builtIn]);
  const missing = [...INITRD_MODULES, ...INITRD_NETWORK_MODULES].filter(
    (name) => !present.has(name) && !OPTIONAL_DRIVERS.has(name),
  );
  if (missing.length > 0) throw new Error(`the kernel has no module ${missing.join(', no ')}`);
}

/** Reads a modules.dep: lines of `file: dependency dependency ...`. */
export function parseModulesDep(text: string): ModuleTree {
  const tree = new Map<string, readonly string[]>();
  for (const line of text.split('\n')) {
    const [file, rest] = line.split(':');
    if (file && rest !== undefined)
      tree.set(
        file,
        rest.split(' ').filter((name) => name !== ''),
      );
  }
  return tree;
}

/** The modules that {@link KERNEL_MODULES} asks for, and all that they need. */
export function modulesToKeep(tree: ModuleTree, prefixes: readonly string[] = KERNEL_MODULES): Set<string> {
  const kept = new Set<string>();
  for (const [file, dependencies] of tree) {
    const path = file.replace(/^kernel\//, '');
    // A prefix without a slash at its end names one module, not all that start with it.
    const wanted = prefixes.some((prefix) =>
      prefix.endsWith('/') ? path.startsWith(prefix) : path.replace(/\.ko(\.\w+)?$/, '') === prefix,
    );
    // modules.dep lists indirect dependencies as well.
    if (wanted) for (const name of [file, ...dependencies]) kept.add(name);
  }
  return kept;
}

/** The name by which modprobe knows a module file. */
export function moduleName(file: string): string {
  return basename(file)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

/**
 * The files to load for `names`, each once and after its dependencies; a name
 * that is not a module of this kernel is skipped, as it may be built in.
 */
export function loadOrder(tree: ModuleTree, names: readonly string[]): string[] {
  const files = new Map([...tree.keys()].map((file) => [moduleName(file), file]));
  const order = new Set<string>();
  for (const name of names) {
    const file = files.get(name);
    if (file === undefined) continue;
    // modules.dep lists the nearest dependency first.
    for (const dependency of [...(tree.get(file) ?? [])].reverse()) order.add(dependency);
    order.add(file);
  }
  return [...order];
}

async function pruneModules(directory: string, kept: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && entry.name.includes('.ko') && !kept.has(relative(directory, path))) await rm(path);
  }
}

async function decompressAll(context: BuildContext, directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const [suffix, program] of [
    ['.ko.xz', ['xz', '--decompress', '--threads=1']],
    ['.ko.zst', ['zstd', '--decompress', '--rm', '--quiet']],
  ] as const) {
    const compressed = files.filter((file) => file.endsWith(suffix));
    if (compressed.length > 0) await run(context, program[0], [...program.slice(1), ...compressed]);
  }
}

async function removeSignatures(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ko')) continue;
    const path = join(entry.parentPath, entry.name);
    const module = await readFile(path);
    const stripped = withoutSignature(module);
    if (stripped.length < module.length) await writeFile(path, stripped);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
