/**
 * `npm run durability`: kills servers and appliances under load, or cuts the power of their host, and looks for
 * acknowledged data that was lost. Sets up what is missing first. Its options are those of test/durability/main.ts;
 * `--help` lists them.
 */
import { pathToFileURL } from 'node:url';
import { ensureAllBuilt } from './setup/build.mjs';
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';

await command(async () => {
  await setUpServer({ appliance: true, purposes: ['test'] });
  await ensureAllBuilt();
});
await import(pathToFileURL(inProject('dist', 'test', 'durability', 'main.js')).href);
