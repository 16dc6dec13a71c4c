/** Paths of the project, and the programs of its npm packages. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root directory. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The API of the last release, an image of buf's, from the project's root; `npm run release:api` renews it. */
export const RELEASED_API = 'test/fixtures/released-api.binpb';

/**
 * Absolute path of a file in the project.
 * @param {string[]} parts
 */
export function inProject(...parts) {
  return join(root, ...parts);
}

/**
 * Command line of a program from one of the project's npm packages.
 * @param {'tsc' | 'buf' | 'biome' | 'eslint' | 'jest'} name
 * @param {string[]} args
 */
export function projectTool(name, ...args) {
  return [process.execPath, inProject('node_modules', '.bin', name), ...args];
}
