/** Package databases of Debian. */

export interface DebPackage {
  readonly name: string;
  readonly version: string;
  readonly status?: string;
  readonly source?: string;
  readonly homepage?: string;
  readonly description?: string;
}

/** A status file as dpkg writes it. */
export function dpkgStatus(packages: readonly DebPackage[]): string {
  return packages
    .map(({ name, version, status = 'install ok installed', source, homepage, description = 'a package' }) =>
      [
        `Package: ${name}`,
        `Status: ${status}`,
        'Priority: optional',
        'Section: admin',
        'Installed-Size: 100',
        'Maintainer: Nobody <nobody@example.com>',
        'Architecture: amd64',
        ...(source === undefined ? [] : [`Source: ${source}`]),
        `Version: ${version}`,
        'Depends: libc6 (>= 2.36)',
        `Description: ${description}`,
        ' A longer text that goes on',
        ' .',
        ' for more than one line.',
        ...(homepage === undefined ? [] : [`Homepage: ${homepage}`]),
        '',
        '',
      ].join('\n'),
    )
    .join('');
}
