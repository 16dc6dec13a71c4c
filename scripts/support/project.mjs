/** Where the project is, and the programs of its own that the scripts start. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root directory. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The API of the last release, an image of buf's, from the project's root; `npm run release:api` renews it. */
export const RELEASED_API = 'test/fixtures/released-api.binpb';

/**
 * Absolute path of something in the project.
 * @param {string[]} parts
 */
export function inProject(...parts) {
  return join(root, ...parts);
}

/**
 * Command line of a program that an npm package of the project brings.
 * @param {'tsc' | 'buf' | 'biome' | 'eslint' | 'jest'} name
 * @param {string[]} args
 */
export function projectTool(name, ...args) {
  return [process.execPath, inProject('node_modules', '.bin', name), ...args];
}
