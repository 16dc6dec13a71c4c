/**
 * Finds licences in Debian's copyright files. Most files are in Debian's machine-readable format (DEP-5), which has a
 * field for the name of each licence; in the others, a program can find only the licence texts that they refer to.
 */
import { SPDX } from '@cyclonedx/cyclonedx-library';

const MACHINE_READABLE = /^Format(?:-Specification)?:\s*\S*(?:copyright-format|dep-?5|CopyrightFormat)/im;
const LICENCE_FIELD = /^Licen[cs]e:[ \t]*(\S.*)$/gim;
const COMMON_LICENCE = /\/usr\/share\/common-licenses\/([A-Za-z][A-Za-z0-9]*(?:[-.][0-9.]*[0-9])?)/g;
/** A name, possibly with an exception; some authors have put the beginning of the licence's text there instead. */
const SHORT_NAME = /^[a-z0-9][\w.+~/-]*(?: with .{1,60})?$/i;

/** Debian's names that differ from SPDX's by more than upper and lower case. */
const SPDX_NAMES = new Map([
  ['apache-2', 'Apache-2.0'],
  ['artistic', 'Artistic-1.0-Perl'],
  ['artistic-2', 'Artistic-2.0'],
  ['bsd-4-clause-uc', 'BSD-4-Clause-UC'],
  ['bsl-1', 'BSL-1.0'],
  ['bzip', 'bzip2-1.0.6'],
  ['bzip2', 'bzip2-1.0.6'],
  ['cc0', 'CC0-1.0'],
  ['expat', 'MIT'],
  ['mit/x11', 'MIT'],
  ['openldap-2.8', 'OLDAP-2.8'],
]);

/** Licences of the GNU project: `GPL-2+`, `LGPLv2.1+`, `GFDL-NIV-1.3+`, `GPL-3.0-or-later`. */
const GNU = /^(A?GPL|LGPL|G?FDL)(-NIV)?-?v?(\d)(?:\.(\d))?(\+|-or-later|-only)?$/i;

/**
 * The names of the licences in a copyright file, in alphabetical order; none if it states them only in prose. Both
 * sides of alternatives (`A or B`) and combinations (`A and B`) are included.
 * @param {string} text
 * @returns {string[]}
 */
export function licencesIn(text) {
  const names = MACHINE_READABLE.test(text)
    ? [...text.matchAll(LICENCE_FIELD)].flatMap(([, value = '']) =>
        value.split(/[\s,_]+(?:and|or|and\/or)[\s,_]+/i).map((name) => name.trim().replace(/,$/, '')),
      )
    : [];
  const found = names.filter((name) => SHORT_NAME.test(name));
  if (found.length === 0) found.push(...[...text.matchAll(COMMON_LICENCE)].map(([, name = '']) => name));
  return [...new Set(found.map(spdxName))].sort();
}

/**
 * The SPDX identifier for one of Debian's licence names or, if it has none, Debian's name.
 * @param {string} name
 */
export function spdxName(name) {
  const known = SPDX_NAMES.get(name.toLowerCase());
  if (known !== undefined) return known;
  const [, family, noInvariants, major, minor = '0', suffix] = GNU.exec(name) ?? [];
  if (family !== undefined && major !== undefined) {
    const full = family.toUpperCase() === 'FDL' ? 'GFDL' : family.toUpperCase();
    const later = suffix === '+' || suffix?.toLowerCase() === '-or-later';
    const id = `${full}-${major}.${minor}${noInvariants ? '-no-invariants' : ''}-${later ? 'or-later' : 'only'}`;
    if (SPDX.isSupportedSpdxId(id)) return id;
  }
  return SPDX.fixupSpdxId(name) ?? name;
}
