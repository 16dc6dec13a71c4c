/** The Debian packages of a built appliance, with their licences, read from the appliance itself. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StepFailed } from '../support/run.mjs';
import { licencesIn } from './copyright.mjs';

/** Source packages whose copyright files state the licence only in prose, with the licence as read by a person. */
const STATED_IN_PROSE = new Map([
  ['libxcrypt', ['LGPL-2.1-or-later']],
  ['python3-defaults', ['PSF-2.0']],
]);

/**
 * @typedef {object} AppliancePackage
 * @property {string} name
 * @property {string} version
 * @property {string} source Name of the source package.
 * @property {string} [homepage]
 * @property {string} [description] Its first line.
 * @property {string} [copyrightFile] Its path in the appliance; undefined if there is none.
 * @property {readonly string[]} licences SPDX identifiers, or Debian's names.
 */

/**
 * The part of an appliance's manifest that is used here.
 * @typedef {object} Manifest
 * @property {string} suite
 * @property {string} architecture
 * @property {string} daemonVersion
 * @property {string} kernelVersion
 * @property {string} rootUuid
 * @property {string} sourceDate
 * @property {Readonly<Record<string, string>>} packages
 * @property {Readonly<Record<string, { sha256: string }>>} files
 */

/**
 * The manifest of the appliance in a directory.
 * @param {string} directory
 * @returns {Manifest}
 */
export function readManifest(directory) {
  const file = join(directory, 'manifest.json');
  if (!existsSync(file))
    throw new StepFailed(`${file} does not exist: only appliances built with npm run appliance list their contents`);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/**
 * Reads the fields of installed packages from a dpkg status file, by package name. Only the first line of a field is
 * read.
 * @param {string} text
 */
export function parseStatus(text) {
  const packages = new Map();
  for (const stanza of text.split('\n\n')) {
    const fields = new Map([...stanza.matchAll(/^([A-Z][\w-]*): (.*)$/gm)].map(([, name, value]) => [name, value]));
    if (fields.has('Package')) packages.set(fields.get('Package'), fields);
  }
  return /** @type {Map<string, Map<string, string>>} */ (packages);
}

/**
 * The packages of an appliance, in alphabetical order.
 * @param {string} directory
 * @returns {AppliancePackage[]}
 */
export function appliancePackages(directory) {
  const { packages } = readManifest(directory);
  const scratch = mkdtempSync(join(tmpdir(), 'guestfs-grpc-sbom-'));
  try {
    const statusFile = join(scratch, 'status');
    // debugfs can read the image as any user; it exits with 0 even if it fails.
    const { error, stderr } = spawnSync('debugfs', ['-f', '-', join(directory, 'root')], {
      input: `dump /var/lib/dpkg/status ${statusFile}\nrdump /usr/share/doc ${scratch}\n`,
      encoding: 'utf8',
      env: { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` },
    });
    if (error) throw new StepFailed(`debugfs (package e2fsprogs) cannot be started: ${error.message}`);
    if (!existsSync(statusFile)) throw new StepFailed(`debugfs cannot read ${join(directory, 'root')}: ${stderr}`);
    const status = parseStatus(readFileSync(statusFile, 'utf8'));
    return Object.entries(packages).map(([name, version]) => {
      const fields = status.get(name);
      const copyright = join(scratch, 'doc', name, 'copyright');
      const present = existsSync(copyright);
      const source = fields?.get('Source')?.split(' ', 1)[0] ?? name;
      const licences = present ? licencesIn(readFileSync(copyright, 'utf8')) : [];
      return {
        name,
        version,
        source,
        homepage: fields?.get('Homepage'),
        description: fields?.get('Description'),
        copyrightFile: present ? `/usr/share/doc/${name}/copyright` : undefined,
        licences: licences.length > 0 ? licences : (STATED_IN_PROSE.get(source) ?? []),
      };
    });
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
