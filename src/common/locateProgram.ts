/** Locates a program as a shell does. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';

/**
 * The absolute path of a program, by path or by name on the PATH.
 * @throws Error with `code` ENOENT
 */
export async function locateProgram(name: string): Promise<string> {
  const candidates = name.includes('/')
    ? [resolve(name)]
    : (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, name));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(
      async () => (await stat(candidate)).isFile(),
      () => false,
    );
    if (usable) return candidate;
  }
  throw Object.assign(new Error(`spawn ${name} ENOENT: no such program`), { code: 'ENOENT' });
}
