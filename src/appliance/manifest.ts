/** The manifest that the appliance builder writes next to the appliance's files. */
import { readFile } from 'node:fs/promises';
import { GuestfsError } from '../common/errors.js';

export const MANIFEST_NAME = 'manifest.json';

/** Newest format that this server understands. */
const FORMAT_VERSION = 1;

/** The part of a manifest that the server uses; the rest is for people. */
export interface ApplianceManifest {
  readonly suite: string | undefined;
  readonly architecture: string | undefined;
  readonly daemonVersion: string | undefined;
  readonly kernelVersion: string | undefined;
  readonly rootUuid: string | undefined;
  /** Changes whenever the appliance changes. */
  readonly inputsHash: string | undefined;
  /** Expected size of each file, by name. */
  readonly sizes: ReadonlyMap<string, number>;
  /** SHA-256 of each file, by name, in hexadecimal digits. */
  readonly checksums: ReadonlyMap<string, string>;
}

/**
 * Reads a manifest; undefined if there is none, as in appliances made by other tools.
 * @throws GuestfsError `APPLIANCE_UNUSABLE` if it is invalid
 */
export async function readManifest(path: string): Promise<ApplianceManifest | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new GuestfsError('APPLIANCE_UNUSABLE', `${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return parseManifest(text, path);
}

/** Parses the text of a manifest; `path` is for messages. */
export function parseManifest(text: string, path: string): ApplianceManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new GuestfsError('APPLIANCE_UNUSABLE', `${path} is not JSON; rebuild the appliance`, {
      cause: error,
    });
  }
  const manifest = asRecord(value);
  const version = manifest?.['formatVersion'];
  if (manifest === undefined || typeof version !== 'number' || version < 1 || version > FORMAT_VERSION) {
    throw new GuestfsError(
      'APPLIANCE_UNUSABLE',
      `${path} has format ${String(version)}, but this server understands ${FORMAT_VERSION}; rebuild the appliance`,
    );
  }
  const word = (name: string): string | undefined => (typeof manifest[name] === 'string' ? manifest[name] : undefined);
  const sizes = new Map<string, number>();
  const checksums = new Map<string, string>();
  for (const [name, file] of Object.entries(asRecord(manifest['files']) ?? {})) {
    const size = asRecord(file)?.['size'];
    if (typeof size === 'number') sizes.set(name, size);
    const sha256 = asRecord(file)?.['sha256'];
    if (typeof sha256 === 'string') checksums.set(name, sha256);
  }
  return {
    suite: word('suite'),
    architecture: word('architecture'),
    daemonVersion: word('daemonVersion'),
    kernelVersion: word('kernelVersion'),
    rootUuid: word('rootUuid'),
    inputsHash: word('inputsHash'),
    sizes,
    checksums,
  };
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
