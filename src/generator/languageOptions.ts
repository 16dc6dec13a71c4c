/** Options of the .proto files from which the generators of other languages derive their names. */

const PACKAGE_OPTIONS = [
  ['go_package', 'libguestfs.org/guestfs/guestfsv1;guestfsv1'],
  ['java_package', 'com.guestfs.v1'],
  ['java_multiple_files', true],
  ['csharp_namespace', 'Guestfs.V1'],
  ['php_namespace', 'Guestfs\\V1'],
  ['php_metadata_namespace', 'Guestfs\\V1\\Metadata'],
  ['ruby_package', 'Guestfs::V1'],
  ['objc_class_prefix', 'GFS'],
  ['swift_prefix', 'GuestfsV1'],
] as const;

/** `inspection_report` -> `InspectionReportProto`: unlike protoc's default, it depends on nothing in the file. */
function outerClass(file: string): string {
  return `${file
    .split('_')
    .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
    .join('')}Proto`;
}

/**
 * The options of one file, as lines that end with a line break.
 * @param file its name, without the folder and the ending
 */
export function languageOptions(file: string): string {
  return [...PACKAGE_OPTIONS, ['java_outer_classname', outerClass(file)] as const]
    .map(([name, value]) => `option ${name} = ${JSON.stringify(value)};\n`)
    .sort()
    .join('');
}
