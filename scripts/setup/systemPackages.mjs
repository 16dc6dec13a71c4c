/** Installs the system packages that are missing: through apt on Debian and its kin. */
import { readFileSync } from 'node:fs';
import { packagesFor } from '../packages.mjs';
import { isInstalled, outputOf, run, StepFailed } from '../support/run.mjs';
import { say } from '../support/say.mjs';

/** Nobody is there to answer questions. */
const APT_ENVIRONMENT = ['DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_SUSPEND=1'];
/** Another apt may be at work, for example the one that looks for updates. */
const APT_OPTIONS = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', '-q'];

/**
 * apt-get that starts no services: the tests start what they need by themselves, and nobody who runs
 * them has asked for a web server. Packages ask this policy before they start one (Debian Policy, 9.3.3.2).
 */
const APT_GET = `policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get "$@"`;

/** In dpkg-query's own notation. */
// eslint-disable-next-line no-template-curly-in-string
const DPKG_FORMAT = '--showformat=${db:Status-Status} ${Package}\\n';

/** Names of the distribution and of what it derives from. */
function distributions() {
  try {
    const release = readFileSync('/etc/os-release', 'utf8');
    return [...release.matchAll(/^(?:ID|ID_LIKE)="?([^"\n]*)/gm)].flatMap((match) => (match[1] ?? '').split(' '));
  } catch {
    return [];
  }
}

/**
 * Makes sure that the packages for some purposes are installed.
 * @param {readonly import('../packages.mjs').Purpose[]} purposes
 */
export async function ensureSystemPackages(purposes) {
  const wanted = packagesFor(purposes);
  if (isInstalled('apt-get') && isInstalled('dpkg-query')) await ensureByApt(wanted);
  else requirePrograms(wanted);
}

/** @param {readonly import('../packages.mjs').SystemPackage[]} wanted */
async function ensureByApt(wanted) {
  const ubuntu = distributions().includes('ubuntu');
  const names = wanted.map((entry) => (ubuntu && entry.ubuntu) || entry.name);
  const listed = outputOf(['dpkg-query', '--show', DPKG_FORMAT, ...names]);
  const installed = new Set([...listed.matchAll(/^installed (.+)$/gm)].map((match) => match[1]));
  const missing = names.filter((name) => !installed.has(name));
  if (missing.length === 0) return;

  const root = process.getuid?.() === 0;
  if (!root && !isInstalled('sudo')) {
    throw new StepFailed(
      `these packages are missing: run "apt-get install ${missing.join(' ')}" as root, then start again`,
    );
  }
  say(`installing system packages: ${missing.join(' ')}`);
  /** @param {string[]} args */
  const apt = (...args) =>
    run([
      ...(root ? [] : ['sudo']),
      'env',
      ...APT_ENVIRONMENT,
      'sh',
      '-c',
      APT_GET,
      'apt-get',
      ...APT_OPTIONS,
      ...args,
    ]);
  await apt('update');
  await apt('install', '--yes', '--no-install-recommends', ...missing);
}

/**
 * On a distribution whose package manager is not known here, says what is missing.
 * @param {readonly import('../packages.mjs').SystemPackage[]} wanted
 */
function requirePrograms(wanted) {
  const missing = wanted.flatMap((entry) =>
    (entry.programs ?? [])
      .filter((program) => !isInstalled(program))
      .map((program) => `  ${program}  (${entry.why}; Debian has it in ${entry.name})`),
  );
  if (missing.length === 0) return;
  throw new StepFailed(`this system has no apt; install these programs, then start again:\n${missing.join('\n')}`);
}
