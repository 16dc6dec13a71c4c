/** The Debian archive, accessed through an apt that is independent of the machine's own packages. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type BuildContext, run } from './command.js';
import { findSources, hostAccessOptions } from './sources.js';
import type { Suite } from './suite.js';

/** An apt with separate state, lists and sources. */
export class Archive {
  private constructor(
    private readonly context: BuildContext,
    private readonly configuration: string,
    /** Debian's name of the architecture. */
    readonly architecture: string,
    /** The sources.list lines in use. */
    readonly sources: readonly string[],
    /** Settings about access to the mirrors; see {@link hostAccessOptions}. */
    readonly accessOptions: readonly string[],
  ) {}

  /** Sets an archive of `suite` up below `directory` and loads its package lists. */
  static async open(context: BuildContext, suite: Suite, directory: string): Promise<Archive> {
    const [architecture, sources, accessOptions] = await Promise.all([
      run(context, 'dpkg', ['--print-architecture']),
      findSources(context, suite),
      hostAccessOptions(context),
    ]);
    await mkdir(join(directory, 'lists', 'partial'), { recursive: true });
    await mkdir(join(directory, 'cache', 'archives', 'partial'), { recursive: true });
    await writeFile(join(directory, 'sources.list'), sources.map((line) => `${line}\n`).join(''));
    await writeFile(join(directory, 'status'), '');
    const configuration = join(directory, 'apt.conf');
    await writeFile(configuration, aptConfiguration(directory, architecture, accessOptions));
    const archive = new Archive(context, configuration, architecture, sources, accessOptions);
    await archive.apt('apt-get', ['update']);
    return archive;
  }

  /** The versions that would be installed now, for those of `names` that the archive has. */
  async candidates(names: readonly string[]): Promise<Map<string, string>> {
    return parsePolicy(await this.apt('apt-cache', ['policy', ...names]));
  }

  /** The `Depends` field of a package. */
  async depends(name: string): Promise<string> {
    const text = await this.apt('apt-cache', ['show', '--no-all-versions', name]);
    return /^Depends: (.*)$/m.exec(text)?.[1] ?? '';
  }

  /** Downloads a package into `directory`, which it creates, and returns the file's path. */
  async download(name: string, directory: string): Promise<string> {
    await mkdir(directory, { recursive: true });
    await this.apt('apt-get', ['download', name], directory);
    // apt encodes the version in the file's name; the name is not known beforehand.
    const file = (await readdir(directory)).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt-get download ${name} left no package in ${directory}`);
    return join(directory, file);
  }

  private apt(command: string, args: readonly string[], cwd?: string): Promise<string> {
    return run(this.context, command, args, {
      env: { APT_CONFIG: this.configuration },
      ...(cwd === undefined ? {} : { cwd }),
    });
  }
}

/** The apt.conf of an archive below `directory`. */
function aptConfiguration(directory: string, architecture: string, accessOptions: readonly string[]): string {
  return [
    // Keeps apt from reading the machine's configuration: its hooks, pins and default release must not apply here.
    'Dir::Etc::parts "/dev/null";',
    'Dir::Etc::main "/dev/null";',
    'Dir::Etc::preferences "/dev/null";',
    'Dir::Etc::preferencesparts "/dev/null";',
    'Dir::Etc::sourceparts "/dev/null";',
    `Dir::Etc::sourcelist "${directory}/sources.list";`,
    `Dir::State "${directory}";`,
    `Dir::State::status "${directory}/status";`,
    `Dir::Cache "${directory}/cache";`,
    `APT::Architecture "${architecture}";`,
    `APT::Architectures { "${architecture}"; };`,
    // apt's download user cannot enter a private directory.
    'APT::Sandbox::User "";',
    'Acquire::Languages "none";',
    // Otherwise "apt-get update" succeeds without lists that it could not download, and packages seem not to exist.
    'APT::Update::Error-Mode "any";',
    'Acquire::Retries "3";',
    ...accessOptions,
    '',
  ].join('\n');
}

/** Reads the candidates from the output of `apt-cache policy`. */
export function parsePolicy(text: string): Map<string, string> {
  const versions = new Map<string, string>();
  let name = '';
  for (const line of text.split('\n')) {
    const heading = /^(\S+):$/.exec(line);
    if (heading?.[1] !== undefined) name = heading[1].split(':', 1).join();
    const version = /^ {2}Candidate: (.*)$/.exec(line)?.[1];
    if (version !== undefined && version !== '(none)') versions.set(name, version);
  }
  return versions;
}
