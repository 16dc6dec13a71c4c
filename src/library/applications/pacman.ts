/** Packages of Arch Linux, from pacman's local database: a directory with one for each package. */
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { fileListActions } from '../fileLists.js';
import { linesOfFile } from '../guestFile.js';
import { unlessDaemonFails } from '../tolerance.js';
import { ApplicationList, listTooLarge, MAX_APPLICATIONS, splitVersion, type ApplicationFacts } from './application.js';
import type { PackageList } from './packageList.js';

const DATABASE = '/var/lib/pacman/local';
/** Larger descriptions are not read; the library's limit. */
const MAX_DESCRIPTION_SIZE = 8192;
/** Packages that replace or provide many others have descriptions of tens of KiB. */
const MAX_LONG_DESCRIPTION = 1024 * 1024;

/** Relevant sections of a description. */
const SECTIONS: ReadonlySet<string> = new Set(['NAME', 'VERSION', 'DESC', 'URL', 'ARCH']);

/** The values of a description, by section; the first line of a section is its value. */
async function sectionsOf(source: AsyncIterable<readonly string[]>): Promise<ReadonlyMap<string, string>> {
  const values = new Map<string, string>();
  let section: string | undefined;
  for await (const lines of source) {
    for (const line of lines) {
      if (line !== '' && section !== undefined) values.set(section, line);
      const begun: string | undefined = section === undefined ? /^%([A-Z]+)%$/.exec(line)?.[1] : undefined;
      section = begun !== undefined && SECTIONS.has(begun) ? begun : undefined;
    }
  }
  return values;
}

/** Reads the lines of one package's description; undefined if a required section is missing. */
export async function parsePacmanDescription(
  source: AsyncIterable<readonly string[]>,
): Promise<ApplicationFacts | undefined> {
  const values = await sectionsOf(source);
  const name = values.get('NAME');
  const arch = values.get('ARCH');
  const { epoch, version, release } = splitVersion(values.get('VERSION') ?? '');
  if (
    name === undefined ||
    arch === undefined ||
    epoch === undefined ||
    version === '' ||
    release === undefined ||
    release === ''
  )
    return undefined;
  return { name, epoch, version, release, arch, url: values.get('URL'), description: values.get('DESC') };
}

/** The directories of the packages. */
async function packageDirectories(context: LibraryContext): Promise<string[]> {
  const packages: string[] = [];
  for await (const { entries } of fileListActions.readdir(context, { dir: DATABASE })) {
    for (const { name, ftyp } of entries) if (ftyp === 'd' && name !== '.' && name !== '..') packages.push(name);
    if (packages.length > MAX_APPLICATIONS) throw listTooLarge(MAX_APPLICATIONS, 'applications');
  }
  return packages;
}

/** The packages with descriptions of at most this size; the others are in the notes. */
async function listUpTo(context: LibraryContext, maxSize: number): Promise<PackageList> {
  const list = new ApplicationList();
  const notes: string[] = [];
  for (const directory of await packageDirectories(context)) {
    const path = `${DATABASE}/${directory}/desc`;
    // A description that cannot be read does not hide the others.
    const facts = await unlessDaemonFails(parsePacmanDescription(linesOfFile(context, path, maxSize)));
    if (facts === undefined) notes.push(`${path} is missing or damaged: the package is left out`);
    else list.add(facts);
  }
  return { applications: list.applications, notes };
}

export async function listPacmanApplications(context: LibraryContext): Promise<readonly Application2[]> {
  return (await listUpTo(context, MAX_DESCRIPTION_SIZE)).applications;
}

/** The packages, also those with descriptions that the library does not read. */
export function listAllPacman(context: LibraryContext): Promise<PackageList> {
  return listUpTo(context, MAX_LONG_DESCRIPTION);
}
