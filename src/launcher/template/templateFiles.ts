/** The files of a template in its directory, with `template.json`, which has the digest of each of them. */
import { constants } from 'node:fs';
import { open, readFile, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import {
  keepMemoryFile,
  loadMemoryFile,
  packMemoryFile,
  unpackMemoryFile,
  type LoadedMemoryFile,
} from '../../common/memoryFile.js';
import { Template, TEMPLATE_FILES, type TemplateFiles } from './template.js';

/** Its presence marks a template as complete. */
export const FACTS = 'template.json';

/** How the files are written and read. */
export interface FileFormat {
  /** Of the files. */
  readonly mode: number;
  /** @returns a digest of the contents */
  write(source: FileHandle, target: FileHandle, signal: AbortSignal): Promise<string>;
  read(source: FileHandle, signal: AbortSignal): Promise<LoadedMemoryFile>;
}

/** Private files with holes. */
export const SPARSE: FileFormat = { mode: 0o600, write: keepMemoryFile, read: loadMemoryFile };
/** Files that everyone may read, and that stay small where holes are not kept. */
export const PACKED: FileFormat = { mode: 0o644, write: packMemoryFile, read: unpackMemoryFile };

/** Writes a template into an empty directory. */
export async function writeTemplate(
  template: Template,
  directory: string,
  format: FileFormat,
  signal: AbortSignal,
): Promise<void> {
  const digests: Record<string, string> = {};
  for (const name of TEMPLATE_FILES) {
    const target = await open(join(directory, name), 'wx', format.mode);
    try {
      digests[name] = await format.write(template.files[name], target, signal);
    } finally {
      await target.close();
    }
  }
  const { console, createdAt } = template.facts;
  const facts = JSON.stringify({ digests, console: console.toString('base64'), createdAt });
  await writeFile(join(directory, FACTS), facts, { flag: 'wx', mode: format.mode, flush: true });
}

/**
 * Reads a template.
 * @throws Error if it is incomplete or damaged
 */
export async function readTemplate(
  key: string,
  directory: string,
  format: FileFormat,
  signal: AbortSignal,
): Promise<Template> {
  const { digests, ...facts } = await readFacts(directory);
  return new Template(key, await loadFiles(directory, digests, format, signal), facts);
}

interface KeptFacts {
  readonly digests: Readonly<Record<string, unknown>>;
  readonly console: Buffer;
  readonly createdAt: number;
}

async function readFacts(directory: string): Promise<KeptFacts> {
  const { digests, console, createdAt } = JSON.parse(await readFile(join(directory, FACTS), 'utf8')) as Partial<
    Record<keyof KeptFacts, unknown>
  >;
  if (typeof digests !== 'object' || digests === null || typeof console !== 'string' || typeof createdAt !== 'number')
    throw new Error(`${FACTS} is incomplete`);
  return { digests: digests as Record<string, unknown>, console: Buffer.from(console, 'base64'), createdAt };
}

async function loadFiles(
  directory: string,
  digests: KeptFacts['digests'],
  format: FileFormat,
  signal: AbortSignal,
): Promise<TemplateFiles> {
  const loaded = await Promise.allSettled(
    TEMPLATE_FILES.map((name) => loadFile(join(directory, name), digests[name], format, signal)),
  );
  const files = loaded.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = loaded.find((one) => one.status === 'rejected');
  if (failed !== undefined) {
    await Promise.all(files.map((file) => file.close()));
    throw failed.reason;
  }
  return Object.fromEntries(TEMPLATE_FILES.map((name, index) => [name, files[index]])) as unknown as TemplateFiles;
}

async function loadFile(path: string, digest: unknown, format: FileFormat, signal: AbortSignal): Promise<FileHandle> {
  const source = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const loaded = await format.read(source, signal);
    if (loaded.digest === digest) return loaded.file;
    await loaded.file.close();
    throw new Error(`${path} does not match its digest`);
  } finally {
    await source.close();
  }
}
