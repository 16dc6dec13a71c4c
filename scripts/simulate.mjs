/**
 * `npm run simulate`: runs the server's sessions, calls and templates on a simulated host, with random schedules and
 * faults. See docs/reliability.md.
 *
 *   --seeds N       this many simulations; 1000 by default
 *   --first N       beginning with this seed; 1 by default
 *   --seed N        a single one, with its trace
 *   --mutations     puts defects into the server, each of which has to be found
 */
import { ensureGenerated } from './setup/generated.mjs';
import { ensureAllBuilt } from './setup/build.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { start } from './support/run.mjs';

await command(async () => {
  await ensureNodePackages();
  await ensureGenerated();
  await ensureAllBuilt();
  const program = inProject('dist', 'test', 'simulation', 'main.js');
  const ended = await start([process.execPath, program, ...process.argv.slice(2)], { stdio: 'inherit' });
  process.exitCode = ended === 0 ? 0 : 1;
});
