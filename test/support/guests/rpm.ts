/** RPM package databases: real ones, with packages that are built for them. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../diskImages.js';

export interface RpmPackage {
  readonly name: string;
  readonly epoch?: number;
  readonly version: string;
  readonly release: string;
  readonly summary: string;
  readonly url: string;
}

/** The recipe of a package without any files. */
function specFile({ name, epoch, version, release, summary, url }: RpmPackage): string {
  return [
    `Name: ${name}`,
    ...(epoch === undefined ? [] : [`Epoch: ${epoch}`]),
    `Version: ${version}`,
    `Release: ${release}`,
    `Summary: ${summary}`,
    `URL: ${url}`,
    'License: MIT',
    'BuildArch: noarch',
    '%description',
    `${summary}, at length.`,
    '%files',
    '',
  ].join('\n');
}

/** The files of a database in which packages are installed, by name. */
export function makeRpmDatabase(packages: readonly RpmPackage[]): Map<string, Buffer> {
  const top = mkdtempSync(join(tmpdir(), 'rpm-'));
  try {
    const database = join(top, 'database');
    mkdirSync(database);
    const at = ['--define', `_topdir ${top}`, '--define', `_dbpath ${database}`, '--define', '_db_backend sqlite'];
    run('rpm', ...at, '--initdb');
    for (const one of packages) {
      const spec = join(top, `${one.name}.spec`);
      writeFileSync(spec, specFile(one));
      run('rpmbuild', ...at, '-bb', spec);
      run(
        'rpm',
        ...at,
        '--install',
        '--justdb',
        '--nodeps',
        '--nosignature',
        join(top, 'RPMS', 'noarch', `${one.name}-${one.version}-${one.release}.noarch.rpm`),
      );
    }
    // Locks, and the write-ahead log, are not part of the database once it is closed.
    const files = readdirSync(database).filter((name) => name.startsWith('rpmdb.sqlite'));
    return new Map(files.map((name) => [name, readFileSync(join(database, name))]));
  } finally {
    rmSync(top, { recursive: true, force: true });
  }
}
