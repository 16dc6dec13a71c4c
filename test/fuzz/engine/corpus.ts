/** Reads and writes inputs in files. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The inputs in a directory, the shortest first; none if it does not exist. */
export function readInputs(directory: string): { readonly name: string; readonly bytes: Buffer }[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .map((name) => ({ name, bytes: readFileSync(join(directory, name)) }))
    .sort((one, other) => one.bytes.length - other.bytes.length);
}

/** A name for an input. */
export function nameOf(input: Buffer): string {
  return createHash('sha256').update(input).digest('hex').slice(0, 16);
}

/** Writes an input to a directory, by default under a unique name. @returns its path */
export function writeInput(directory: string, input: Buffer, name = nameOf(input)): string {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, name);
  writeFileSync(path, input);
  return path;
}
