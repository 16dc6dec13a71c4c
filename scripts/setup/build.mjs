/** Compiles the TypeScript sources into dist/. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprint, Stamp } from '../support/fingerprint.mjs';
import { inProject, projectTool, root } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

// `guestfs-grpc inspect` is a client.
const PRODUCT_SOURCES = ['src', 'gen', 'appliance-builder', 'clients'];
const ALL_SOURCES = [...PRODUCT_SOURCES, 'demo', 'bench', 'examples', 'test'];
const SETTINGS = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json'];

const productStamp = new Stamp('built-product');
const allStamp = new Stamp('built-all');

/** @param {readonly string[]} sources */
function state(sources) {
  return fingerprint([...SETTINGS, ...sources]);
}

/** Deletes the output of deleted sources, so that a deleted test does not run any more. */
export function prune() {
  /** @param {string} folder */
  const pruneFolder = (folder) => {
    for (const entry of readdirSync(join(root, 'dist', folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) pruneFolder(path);
      const source = path.replace(/\.js(\.map)?$/, '.ts');
      if (source !== path && !existsSync(join(root, source))) rmSync(join(root, 'dist', path));
    }
  };
  for (const folder of ALL_SOURCES) if (existsSync(inProject('dist', folder))) pruneFolder(folder);
}

/** Makes sure that the server and the appliance builder are compiled. */
export async function ensureProductBuilt() {
  // Taken first: edits made while the compiler runs count the next time.
  const product = state(PRODUCT_SOURCES);
  if (productStamp.matches(product) && existsSync(inProject('dist', 'src', 'cli', 'main.js'))) return;
  say('compiling');
  productStamp.clear();
  await run(projectTool('tsc', '-p', 'tsconfig.build.json'));
  productStamp.write(product);
}

/** Compiles everything, tests included. */
export async function buildAll() {
  const [all, product] = [state(ALL_SOURCES), state(PRODUCT_SOURCES)];
  allStamp.clear();
  productStamp.clear();
  prune();
  await run(projectTool('tsc', '-p', 'tsconfig.json'));
  allStamp.write(all);
  productStamp.write(product);
}

/** Makes sure that everything is compiled, tests included. */
export async function ensureAllBuilt() {
  if (allStamp.matches(state(ALL_SOURCES)) && existsSync(inProject('dist', 'test'))) return;
  say('compiling');
  await buildAll();
}
