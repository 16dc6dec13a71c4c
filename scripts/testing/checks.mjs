/** The stages that check the sources without running them; each counts as one test. */
import { buildAll } from '../setup/build.mjs';
import { COMMITTED_OUTPUTS, ensureGenerated, generatorCommand } from '../setup/generated.mjs';
import { fingerprint } from '../support/fingerprint.mjs';
import { projectTool, RELEASED_API } from '../support/project.mjs';
import { start } from '../support/run.mjs';
import { say } from '../support/say.mjs';
import { oneFailed, onePassed } from './tally.mjs';

/** @param {boolean} good */
const verdict = (good) => (good ? onePassed : oneFailed);

/**
 * Committed generated code matches what the generator produces from the action list, and generating twice changes
 * nothing.
 */
export async function checkGenerated() {
  const before = fingerprint(COMMITTED_OUTPUTS);
  await ensureGenerated();
  if (fingerprint(COMMITTED_OUTPUTS) !== before) {
    say(`generated files were not up to date; they are now: commit ${COMMITTED_OUTPUTS.join(', ')}`);
    return oneFailed;
  }
  return verdict((await start(generatorCommand('--check'))) === 0);
}

/** The layout of the sources, which `npm run format` writes. */
export async function checkFormat() {
  return verdict((await start(projectTool('biome', 'format', '.'))) === 0);
}

/** The rules of eslint.config.js. */
export async function checkStyle() {
  return verdict((await start(projectTool('eslint', '.'))) === 0);
}

/** buf's STANDARD rules for .proto files. */
export async function checkProto() {
  return verdict((await start(projectTool('buf', 'lint'))) === 0);
}

/** The API is compatible with the released one, by buf's rules for files. */
export async function checkReleasedApi() {
  return verdict((await start(projectTool('buf', 'breaking', '--against', RELEASED_API))) === 0);
}

/** Types: of everything that is compiled, and of the scripts. */
export async function checkTypes() {
  await buildAll();
  return verdict((await start(projectTool('tsc', '-p', 'scripts'))) === 0);
}
