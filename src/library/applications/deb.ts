/** Packages of Debian and its relatives, from dpkg's status file. */
import { globExpand, isFile } from '../../../gen/calls/file.js';
import type { Application2 } from '../../../gen/proto/guestfs/v1/structs.js';
import type { LibraryContext } from '../context.js';
import { linesOfFile } from '../guestFile.js';
import { unlessDaemonFails } from '../tolerance.js';
import { ApplicationList, listTooLarge, MAX_TEXT, splitVersion, type VersionParts } from './application.js';
import { fromDatabase, NO_PACKAGES, type PackageList } from './packageList.js';

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

/** How a file is read. */
interface Reading {
  /** What a paragraph says unless it says otherwise. */
  readonly assumed?: Readonly<Paragraph>;
  /** Reads also what dpkg has not written, or not finished: more than the library does. */
  readonly isPatient?: boolean;
}

/** States of a package whose files are there, in whole or in part; a paragraph names one as its last word. */
const UNPACKED: ReadonlySet<string> = new Set([
  'installed',
  'half-installed',
  'unpacked',
  'half-configured',
  'triggers-awaited',
  'triggers-pending',
]);

/** Reads `Name: value`; other fields and forms are ignored. */
function readField(paragraph: Paragraph, line: string, isPatient: boolean): void {
  const colon = line.indexOf(': ');
  const value = line.slice(colon + 2);
  switch (line.slice(0, Math.max(colon, 0))) {
    case 'Package':
      paragraph.name = value;
      break;
    case 'Status':
      paragraph.installed = isPatient
        ? UNPACKED.has(value.trim().split(' ').at(-1) ?? '')
        : value.includes('installed');
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

  constructor(private readonly reading: Reading = {}) {
    this.#paragraph = { ...reading.assumed };
  }

  get applications(): Application2[] {
    return this.#list.applications;
  }

  /** Reads the next line; a paragraph counts once an empty line has ended it. */
  take(given: string): void {
    const isPatient = this.reading.isPatient === true;
    const line = isPatient && given.endsWith('\r') ? given.slice(0, -1) : given;
    if (line.startsWith(' ')) {
      if (this.#inDescription) this.#describe(line.slice(1));
      return;
    }
    this.#inDescription = line.startsWith('Description: ');
    if (line === '') this.#endParagraph();
    else readField(this.#paragraph, line, isPatient);
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
    this.#paragraph = { ...this.reading.assumed };
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

export function listDebApplications(context: LibraryContext): Promise<Application2[]> {
  return parseDpkgStatus(linesOfFile(context, STATUS_FILE, MAX_STATUS_SIZE));
}

/** The packages in the status file, also those of a file that was cut off. */
async function listStatusFile(context: LibraryContext): Promise<PackageList> {
  const file = new StatusFile({ isPatient: true });
  for await (const lines of linesOfFile(context, STATUS_FILE, MAX_STATUS_SIZE))
    for (const line of lines) file.take(line);
  file.take('');
  const hint = '; dpkg keeps the previous version of the file in /var/lib/dpkg/status-old';
  return fromDatabase(context, STATUS_FILE, file.applications, hint);
}

/**
 * The packages of a system without dpkg: each has a file of its own, which does not say that the package is installed. Lists
 * of checksums lie beside them.
 */
async function listSingleDebs(context: LibraryContext): Promise<PackageList> {
  const file = new StatusFile({ assumed: { installed: true }, isPatient: true });
  const notes: string[] = [];
  const { paths } = await context.daemon.call(globExpand, { pattern: `${SINGLE_FILES}/*`, directoryslash: false });
  for (const path of paths) {
    if (path.endsWith('.md5sums')) continue;
    const before = file.applications.length;
    const read = async (): Promise<true> => {
      for await (const lines of linesOfFile(context, path, MAX_SINGLE_SIZE)) for (const line of lines) file.take(line);
      return true;
    };
    await unlessDaemonFails(read());
    file.take('');
    if (file.applications.length === before) notes.push(`${path} describes no package`);
  }
  return { applications: file.applications, notes };
}

/** All packages of a system, in whichever files. */
export async function listAllDebs(context: LibraryContext): Promise<PackageList> {
  const status = unlessDaemonFails(context.daemon.call(isFile, { path: STATUS_FILE, followsymlinks: true }));
  const lists = [(await status)?.fileflag === true ? await listStatusFile(context) : NO_PACKAGES];
  lists.push((await unlessDaemonFails(listSingleDebs(context))) ?? NO_PACKAGES);
  return {
    applications: lists.flatMap(({ applications }) => applications),
    notes: lists.flatMap(({ notes }) => notes),
  };
}
