/** Installs missing system packages, with apt on Debian and its derivatives. */
import { readFileSync } from 'node:fs';
import { packagesFor } from '../packages.mjs';
import { isInstalled, outputOf, run, StepFailed } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { HOW_TO_INSTALL_NOTHING, setupForbidden } from './noSetup.mjs';

/** @typedef {import('../packages.mjs').SystemPackage} SystemPackage */

/** apt must not ask questions. */
const APT_ENVIRONMENT = ['DEBIAN_FRONTEND=noninteractive', 'NEEDRESTART_SUSPEND=1'];
/** Another apt may be running, for example for unattended upgrades. */
const APT_OPTIONS = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', '-q'];

/**
 * apt-get without starting services: the tests start those that they need, and their user has not asked for a web
 * server. Packages consult this policy before they start a service (Debian Policy, 9.3.3.2).
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

/** IDs of the distribution and of those that it derives from. */
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
 * @param {{ install?: boolean }} [options] `install`: whether missing ones may be installed; by default, unless the
 *   environment forbids set-up.
 * @throws {StepFailed} naming the packages that are missing and cannot be installed
 */
export async function ensureSystemPackages(purposes, { install = !setupForbidden(process.env) } = {}) {
  const wanted = packagesFor(purposes);
  if (!isInstalled('apt-get') || !isInstalled('dpkg-query')) {
    requirePrograms(wanted);
    return;
  }
  const missing = missingPackages(wanted, distributions().includes('ubuntu'), installedPackages);
  if (missing.length === 0) return;
  const root = process.getuid?.() === 0;
  const decision = decide(missing, { install, canBecomeRoot: root || isInstalled('sudo') });
  say(decision.message);
  if (!decision.install) throw new StepFailed(decision.remedy);
  await installByApt(
    missing.map(({ name }) => name),
    root,
  );
}

/**
 * The wanted packages that are not installed, by the names of this distribution.
 * @param {readonly SystemPackage[]} wanted
 * @param {boolean} ubuntu
 * @param {(names: readonly string[]) => ReadonlySet<string>} installedAmong
 * @returns {{ name: string, why: string }[]}
 */
export function missingPackages(wanted, ubuntu, installedAmong) {
  const packages = wanted.map(({ name, why, ubuntu: ubuntuName }) => ({ name: (ubuntu && ubuntuName) || name, why }));
  const installed = installedAmong(packages.map(({ name }) => name));
  return packages.filter(({ name }) => !installed.has(name));
}

/**
 * Whether missing packages are installed, and what is said before: each package with its reason, one per line.
 * @param {readonly { name: string, why: string }[]} missing
 * @param {{ install: boolean, canBecomeRoot: boolean }} circumstances
 * @returns {{ install: true, message: string } | { install: false, message: string, remedy: string }}
 */
export function decide(missing, { install, canBecomeRoot }) {
  const width = Math.max(...missing.map(({ name }) => name.length));
  const list = missing.map(({ name, why }) => `\n  ${name.padEnd(width)}  ${why}`).join('');
  if (install && canBecomeRoot)
    return { install, message: `installing system packages with apt (${HOW_TO_INSTALL_NOTHING}):${list}` };
  return {
    install: false,
    message: `system packages are missing:${list}`,
    remedy: `run as root, then start again: apt-get install ${missing.map(({ name }) => name).join(' ')}`,
  };
}

/**
 * The packages among some that are installed.
 * @param {readonly string[]} names
 */
function installedPackages(names) {
  const listed = outputOf(['dpkg-query', '--show', DPKG_FORMAT, ...names]);
  return new Set([...listed.matchAll(/^installed (.+)$/gm)].map(([, name = '']) => name));
}

/**
 * @param {readonly string[]} names
 * @param {boolean} root Whether this process is root's; otherwise sudo is used.
 */
async function installByApt(names, root) {
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
  await apt('install', '--yes', '--no-install-recommends', ...names);
}

/**
 * On a distribution without apt, reports the programs that are missing.
 * @param {readonly SystemPackage[]} wanted
 */
function requirePrograms(wanted) {
  const missing = wanted.flatMap((entry) =>
    (entry.programs ?? [])
      .filter((program) => !isInstalled(program))
      .map((program) => `  ${program}  (${entry.why}; Debian package ${entry.name})`),
  );
  if (missing.length === 0) return;
  throw new StepFailed(`this system has no apt; install these programs, then start again:\n${missing.join('\n')}`);
}
