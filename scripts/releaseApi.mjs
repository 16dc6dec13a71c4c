/**
 * `npm run release:api`: the API as it is becomes the released one, which `npm run check` holds every later one
 * against. Part of a release, and of nothing else: commit what it writes together with the version.
 */
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { projectTool, RELEASED_API } from './support/project.mjs';
import { run } from './support/run.mjs';
import { say } from './support/say.mjs';

await command(async () => {
  await ensureNodePackages();
  await run(projectTool('buf', 'build', '--exclude-source-info', '-o', RELEASED_API));
  say(`${RELEASED_API} is the API as it is now`);
});
