/**
 * Generates what follows from the action list, then the TypeScript of the .proto files.
 * The first is committed; the second, long, is not.
 */
import { fingerprint, Stamp } from '../support/fingerprint.mjs';
import { inProject, projectTool } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

const INPUTS = [
  'src/actions',
  'src/generator',
  'buf.yaml',
  'buf.gen.yaml',
  'tsconfig.json',
  'tsconfig.generator.json',
  'package-lock.json',
];
/** Folders with files that are generated and committed (some of proto is written by hand). */
export const COMMITTED_OUTPUTS = ['proto', 'gen/calls', 'gen/services.ts', 'gen/libraryActions.ts', 'docs/reference'];
const OTHER_OUTPUTS = ['gen/proto'];

const stamp = new Stamp('generated');

/**
 * What the stamp holds. Outputs count as well: one that was edited or deleted is made anew.
 * @param {string} inputs
 */
function state(inputs) {
  return fingerprint([...COMMITTED_OUTPUTS, ...OTHER_OUTPUTS], [inputs]);
}

/**
 * Command line of the generator.
 * @param {string[]} args
 */
export function generatorCommand(...args) {
  return [process.execPath, inProject('dist', 'src', 'generator', 'main.js'), ...args];
}

/** Generates all, whether it is needed or not. */
export async function generate() {
  // Taken before: what is edited meanwhile is generated from the next time.
  const inputs = fingerprint(INPUTS);
  stamp.clear();
  await run(projectTool('tsc', '-p', 'tsconfig.generator.json'));
  await run(generatorCommand());
  await run(projectTool('buf', 'generate'));
  // What server reflection serves.
  await run(projectTool('buf', 'build', '-o', 'gen/proto/descriptors.binpb'));
  stamp.write(state(inputs));
}

/** Makes sure that everything generated is up to date. */
export async function ensureGenerated() {
  if (stamp.matches(state(fingerprint(INPUTS)))) return;
  say('generating code from the action list');
  await generate();
}
