/**
 * `npm run bench`: measures this service and libguestfs in turn. Sets up what is missing
 * first, including libguestfs's own library. Everything after `--` goes to the benchmarks.
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
await import(pathToFileURL(inProject('dist', 'bench', 'main.js')).href);
