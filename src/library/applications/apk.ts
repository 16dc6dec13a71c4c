/** Packages of Alpine Linux, from apk's database. */
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { linesOfFile } from '../guestFile.js';
import { ApplicationList, splitVersion, type VersionParts } from './application.js';
import { fromDatabase, type PackageList } from './packageList.js';

const DATABASE = '/lib/apk/db/installed';
/** Larger ones are not read; the library's limit. */
const MAX_DATABASE_SIZE = 50_000_000;

interface Paragraph {
  name?: string;
  version?: VersionParts;
  arch?: string;
  url?: string;
  description?: string;
}

/** Reads `L:value`, where the letter is the field. */
function readField(paragraph: Paragraph, line: string): void {
  const value = line.slice(2);
  switch (line.slice(0, 1)) {
    case 'A':
      paragraph.arch = value;
      break;
    case 'P':
      paragraph.name = value;
      break;
    case 'T':
      paragraph.description = value;
      break;
    case 'U':
      paragraph.url = value;
      break;
    case 'V': {
      const { release, ...parts } = splitVersion(value);
      // Releases are written r0, r1, ...
      paragraph.version = { ...parts, release: release?.replace(/^r/, '') };
      break;
    }
  }
}

/** What has been read of a database so far. */
class Database {
  readonly #list = new ApplicationList();
  #paragraph: Paragraph = {};

  get applications(): Application2[] {
    return this.#list.applications;
  }

  /** Reads the next line; a paragraph counts once an empty line has ended it. */
  take(line: string): void {
    if (line.length > 1 && line[1] !== ':') return;
    if (line !== '') {
      readField(this.#paragraph, line);
      return;
    }
    const { name, version: parts, ...facts } = this.#paragraph;
    if (name !== undefined && parts?.epoch !== undefined) this.#list.add({ name, ...facts, ...parts });
    this.#paragraph = {};
  }
}

/** Reads the lines of the database. */
export async function parseApkDatabase(source: AsyncIterable<readonly string[]>): Promise<Application2[]> {
  const database = new Database();
  for await (const lines of source) for (const line of lines) database.take(line);
  return database.applications;
}

export function listApkApplications(context: LibraryContext): Promise<Application2[]> {
  return parseApkDatabase(linesOfFile(context, DATABASE, MAX_DATABASE_SIZE));
}

/** The packages in the database, also those of one that was cut off. */
export async function listAllApks(context: LibraryContext): Promise<PackageList> {
  const database = new Database();
  for await (const lines of linesOfFile(context, DATABASE, MAX_DATABASE_SIZE))
    for (const line of lines) database.take(line.endsWith('\r') ? line.slice(0, -1) : line);
  database.take('');
  return fromDatabase(context, DATABASE, database.applications);
}
