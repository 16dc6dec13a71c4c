/**
 * Where packages come from: the mirrors that the machine's own apt uses,
 * turned to the suite that the appliance is made of.
 */
import { type BuildContext, run } from './command.js';
import type { Suite } from './suite.js';

/** The keys of Debian's archives, from the package debian-archive-keyring. */
export const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** One repository, as `apt-get indextargets` tells about it. */
export interface HostRepository {
  readonly uri: string;
  /** Suite or codename, as the sources name it. */
  readonly release: string;
  readonly component: string;
  readonly origin: string;
}

const FIELDS = ['REPO_URI', 'RELEASE', 'COMPONENT', 'ORIGIN'];

/** The repositories in the machine's apt sources. */
async function hostRepositories(context: BuildContext): Promise<HostRepository[]> {
  const format = FIELDS.map((field) => `$(${field})`).join('|');
  return parseRepositories(await run(context, 'apt-get', ['indextargets', '--format', format, 'Created-By: Packages']));
}

/** Without the slashes that it ends with. */
function withoutEnd(uri: string): string {
  let end = uri.length;
  while (uri[end - 1] === '/') end -= 1;
  return uri.slice(0, end);
}

/** Reads what {@link hostRepositories} asks apt for. */
export function parseRepositories(text: string): HostRepository[] {
  return text.split('\n').flatMap((line) => {
    const [uri, release, component, origin] = line.split('|');
    if (!uri || !release || !component || origin === undefined) return [];
    // apt leaves a field as `$(NAME)` when it has not downloaded the index yet.
    return [{ uri: withoutEnd(uri), release, component, origin: origin.startsWith('$(') ? '' : origin }];
  });
}

const DEBIAN_RELEASE = /^(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)$/;

/**
 * The sources.list lines for `suite` on the mirrors in `repositories`;
 * none if no repository there is Debian's main archive.
 */
export function sourcesForSuite(suite: Suite, repositories: readonly HostRepository[]): string[] {
  const main = repositories.filter(
    ({ component, origin }) => component === 'main' && (origin === '' || origin === 'Debian'),
  );
  const archive = main.find(({ release }) => DEBIAN_RELEASE.test(release));
  if (archive === undefined) return [];
  const line = (uri: string, release: string): string => `deb [signed-by=${DEBIAN_KEYRING}] ${uri} ${release} main`;
  const lines = [line(archive.uri, suite.name)];
  if (suite.stable) {
    lines.push(line(archive.uri, `${suite.name}-updates`));
    const security = main.find(({ release }) => release.endsWith('-security'));
    if (security !== undefined) lines.push(line(security.uri, `${suite.name}-security`));
  }
  return lines;
}

/**
 * The sources.list lines to build from: those on the machine's mirrors, or, on
 * a machine that has no Debian mirror (Ubuntu, say), those that mmdebstrap
 * takes for the suite when it is given none.
 */
export async function findSources(context: BuildContext, suite: Suite): Promise<string[]> {
  const lines = sourcesForSuite(suite, await hostRepositories(context));
  if (lines.length > 0) return lines;
  // mmdebstrap offers no way to ask. With --simulate it goes as far as making
  // the lists; the hook shows them.
  const marker = 'sources:';
  const text = await run(context, 'mmdebstrap', [
    '--simulate',
    '--variant=custom',
    '--skip=update,download,extract',
    `--setup-hook=sed 's/^/${marker}/' "$1/etc/apt/sources.list"`,
    suite.name,
    '/dev/null',
  ]);
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${marker}deb `))
    .map((line) => line.slice(marker.length));
}

/** How apt reaches mirrors: proxies, retries, validity checks and the like. */
const ACCESS_OPTION =
  /^Acquire::(http|https|Retries|ForceIPv4|ForceIPv6|Check-Valid-Until|Check-Date|Max-ValidTime|Min-ValidTime)\b/i;

/**
 * The machine's apt settings about access to mirrors, one `Name "value";` each.
 * The build uses apt with a configuration of its own, which would miss them.
 */
export async function hostAccessOptions(context: BuildContext): Promise<string[]> {
  return parseAccessOptions(await run(context, 'apt-config', ['dump']));
}

/** Picks the settings of {@link hostAccessOptions} from `apt-config dump`. */
export function parseAccessOptions(dump: string): string[] {
  return dump.split('\n').filter((line) => ACCESS_OPTION.test(line) && !/ "";$/.test(line));
}
