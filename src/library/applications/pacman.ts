/** Packages of Arch Linux, from pacman's local database: a directory with one for each package. */
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { fileListActions } from '../fileLists.js';
import { linesOfFile } from '../guestFile.js';
import { unlessDaemonFails } from '../tolerance.js';
import { ApplicationList, listTooLarge, MAX_APPLICATIONS, splitVersion, type ApplicationFacts } from './application.js';

const DATABASE = '/var/lib/pacman/local';
/** Larger descriptions are not read; the library's limit. */
const MAX_DESCRIPTION_SIZE = 8192;

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

export async function listPacmanApplications(context: LibraryContext): Promise<Application2[]> {
  const packages: string[] = [];
  for await (const { entries } of fileListActions.readdir(context, { dir: DATABASE })) {
    for (const { name, ftyp } of entries) if (ftyp === 'd' && name !== '.' && name !== '..') packages.push(name);
    if (packages.length > MAX_APPLICATIONS) throw listTooLarge(MAX_APPLICATIONS, 'applications');
  }
  const list = new ApplicationList();
  for (const directory of packages) {
    // A description that cannot be read does not hide the others.
    const facts = await unlessDaemonFails(
      parsePacmanDescription(linesOfFile(context, `${DATABASE}/${directory}/desc`, MAX_DESCRIPTION_SIZE)),
    );
    if (facts !== undefined) list.add(facts);
  }
  return list.applications;
}
