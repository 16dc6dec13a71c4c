/** Packages of Debian and its relatives, from dpkg's status file. */
import { globExpand } from '../../../gen/calls/file.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { linesOfFile } from '../guestFile.js';
import { ApplicationList, listTooLarge, MAX_TEXT, splitVersion, type VersionParts } from './application.js';

const STATUS_FILE = '/var/lib/dpkg/status';
/** Larger ones are not read; the library's limit. */
const MAX_STATUS_SIZE = 50_000_000;
const SINGLE_FILES = '/var/lib/dpkg/status.d';
const MAX_SINGLE_SIZE = 1_000_000;
/** Overhead of a line of a description, in characters. */
const LINE_OVERHEAD = 32;

/** What has been read of a paragraph so far. */
interface Paragraph {
  name?: string;
  installed?: boolean;
  version?: VersionParts;
  arch?: string;
  url?: string;
  source?: string;
  summary?: string;
}

/** Reads `Name: value`; other fields and forms are ignored. */
function readField(paragraph: Paragraph, line: string): void {
  const colon = line.indexOf(': ');
  const value = line.slice(colon + 2);
  switch (line.slice(0, Math.max(colon, 0))) {
    case 'Package':
      paragraph.name = value;
      break;
    case 'Status':
      paragraph.installed = value.includes('installed');
      break;
    case 'Version':
      paragraph.version = splitVersion(value);
      break;
    case 'Architecture':
      paragraph.arch = value;
      break;
    case 'Homepage':
      paragraph.url = value;
      break;
    case 'Source':
      // It can be followed by a version in brackets.
      paragraph.source = value.split(' ', 1)[0] ?? '';
      break;
    case 'Description':
      paragraph.summary = value;
      break;
  }
}

/** What has been read of a status file so far. */
class StatusFile {
  readonly #list = new ApplicationList();
  #paragraph: Paragraph;
  #inDescription = false;
  #description: string[] = [];
  /** Its characters, plus the overhead of its lines. */
  #described = 0;

  /** @param assumed what a paragraph says unless it says otherwise */
  constructor(private readonly assumed: Readonly<Paragraph> = {}) {
    this.#paragraph = { ...assumed };
  }

  get applications(): Application2[] {
    return this.#list.applications;
  }

  /** Reads the next line; a paragraph counts once an empty line has ended it. */
  take(line: string): void {
    if (line.startsWith(' ')) {
      if (this.#inDescription) this.#describe(line.slice(1));
      return;
    }
    this.#inDescription = line.startsWith('Description: ');
    if (line === '') this.#endParagraph();
    else readField(this.#paragraph, line);
  }

  #describe(text: string): void {
    this.#described += text.length + LINE_OVERHEAD;
    if (this.#described > MAX_TEXT) throw listTooLarge(MAX_TEXT, 'characters');
    this.#description.push(text);
  }

  #endParagraph(): void {
    const { name, installed, version: parts, ...facts } = this.#paragraph;
    const description = this.#description.join('\n');
    if (installed === true && name !== undefined && parts?.epoch !== undefined)
      this.#list.add({ name, ...facts, ...parts, description });
    this.#paragraph = { ...this.assumed };
    this.#description = [];
    this.#described = 0;
  }
}

/** Reads the lines of a status file. */
export async function parseDpkgStatus(source: AsyncIterable<readonly string[]>): Promise<Application2[]> {
  const file = new StatusFile();
  for await (const lines of source) for (const line of lines) file.take(line);
  return file.applications;
}

/**
 * The packages of a system without dpkg: each has a file of its own, which does not say that the package is installed. Lists
 * of checksums lie beside them.
 */
export async function listSingleDebs(context: LibraryContext): Promise<Application2[]> {
  const file = new StatusFile({ installed: true });
  const { paths } = await context.daemon.call(globExpand, { pattern: `${SINGLE_FILES}/*`, directoryslash: false });
  for (const path of paths) {
    if (path.endsWith('.md5sums')) continue;
    for await (const lines of linesOfFile(context, path, MAX_SINGLE_SIZE)) for (const line of lines) file.take(line);
    file.take('');
  }
  return file.applications;
}

export function listDebApplications(context: LibraryContext): Promise<Application2[]> {
  return parseDpkgStatus(linesOfFile(context, STATUS_FILE, MAX_STATUS_SIZE));
}
