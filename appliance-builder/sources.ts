/**
 * Where packages come from: the mirrors that the machine's own apt uses,
 * with the suite of the appliance.
 */
import { type BuildContext, run } from './command.js';
import type { Suite } from './suite.js';

/** The keys of Debian's archives, from the package debian-archive-keyring. */
export const DEBIAN_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** One repository, as listed by `apt-get indextargets`. */
export interface HostRepository {
  readonly uri: string;
  /** Suite or codename, as given in the sources. */
  readonly release: string;
  readonly component: string;
  readonly origin: string;
}

const FIELDS = ['REPO_URI', 'RELEASE', 'COMPONENT', 'ORIGIN'];

/** The repositories in the machine's apt sources. */
async function hostRepositories(context: BuildContext): Promise<HostRepository[]> {
  const format = FIELDS.map((field) => `$(${field})`).join('|');
  const list = async (...options: readonly string[]): Promise<HostRepository[]> =>
    parseRepositories(
      await run(context, 'apt-get', ['indextargets', ...options, '--format', format, 'Created-By: Packages']),
    );
  const downloaded = await list();
  // Images of containers have no lists: then apt knows what is in its sources, but not whose it is.
  return downloaded.length > 0 ? downloaded : list('--no-release-info');
}

/** The URI without trailing slashes. */
function withoutEnd(uri: string): string {
  let end = uri.length;
  while (uri[end - 1] === '/') end -= 1;
  return uri.slice(0, end);
}

/** Parses the output that {@link hostRepositories} requests from apt. */
export function parseRepositories(text: string): HostRepository[] {
  return text.split('\n').flatMap((line) => {
    const [uri, release, component, origin] = line.split('|');
    if (!uri || !release || !component || origin === undefined) return [];
    // apt prints `$(NAME)` for a field of an index that it has not downloaded yet.
    return [{ uri: withoutEnd(uri), release, component, origin: origin.startsWith('$(') ? '' : origin }];
  });
}

const DEBIAN_RELEASE = /^(bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)$/;

/**
 * The sources.list lines for `suite` on the mirrors in `repositories`;
 * none if no repository among them is Debian's main archive.
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
 * The sources.list lines to build from: the machine's mirrors or, on a machine
 * without a Debian mirror (Ubuntu, for example), mmdebstrap's default for the
 * suite.
 */
export async function findSources(context: BuildContext, suite: Suite): Promise<string[]> {
  const lines = sourcesForSuite(suite, await hostRepositories(context));
  if (lines.length > 0) return lines;
  // mmdebstrap has no option to print its default. Without any packages it goes as far as creating the lists; the hook,
  // which --simulate leaves out, prints them, on either stream.
  const marker = 'sources:';
  const standard: string[] = [];
  const collect = (line: string): void => {
    if (line.startsWith(`${marker}deb `)) standard.push(line.slice(marker.length));
  };
  const packages = ['--variant=custom', '--skip=update,download,extract,chroot/mount'];
  const hook = `--setup-hook=sed 's/^/${marker}/' "$1/etc/apt/sources.list"`;
  const none = ['--format=null', ...packages, hook, suite.name, '/dev/null'];
  await run(context, 'mmdebstrap', none, { onLine: collect });
  if (standard.length === 0) throw new Error(`neither apt nor mmdebstrap has a mirror for ${suite.name}`);
  return standard;
}

/** How apt reaches mirrors: proxies, retries, validity checks and the like. */
const ACCESS_OPTION =
  /^Acquire::(http|https|Retries|ForceIPv4|ForceIPv6|Check-Valid-Until|Check-Date|Max-ValidTime|Min-ValidTime)\b/i;

/**
 * The machine's apt settings for access to mirrors, one `Name "value";` each.
 * The build uses apt with a separate configuration, which would lack them.
 */
export async function hostAccessOptions(context: BuildContext): Promise<string[]> {
  return parseAccessOptions(await run(context, 'apt-config', ['dump']));
}

/** Picks the settings of {@link hostAccessOptions} from `apt-config dump`. */
export function parseAccessOptions(dump: string): string[] {
  return dump.split('\n').filter((line) => ACCESS_OPTION.test(line) && !/ "";$/.test(line));
}
