/**
 * `npm run release:api`: records the current API as the released one, with which `npm run check` compares every
 * later one. Only for releases: commit the result together with the version.
 */
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { projectTool, RELEASED_API } from './support/project.mjs';
import { run } from './support/run.mjs';
import { say } from './support/say.mjs';

await command(async () => {
  await ensureNodePackages();
  await run(projectTool('buf', 'build', '--exclude-source-info', '-o', RELEASED_API));
  say(`${RELEASED_API} is now the current API`);
});
