/** Compiles the TypeScript client for its npm package. */
import { rmSync } from 'node:fs';
import { inProject, projectTool } from '../support/project.mjs';
import { run } from '../support/run.mjs';

/** Where the package has it. */
export const CLIENT_OUTPUT = inProject('clients', 'typescript', 'dist');

/**
 * With its types, and the generated code that it needs.
 * @param {string} output
 */
export async function compileClient(output) {
  rmSync(output, { recursive: true, force: true });
  await run(projectTool('tsc', '-p', 'clients/typescript/tsconfig.json', '--outDir', output));
}
