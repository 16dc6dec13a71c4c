/**
 * `npm run soak`: keeps sessions at work for hours while faults happen, checks all answers, and looks for leaks. Sets up
 * what is missing first. Its options are those of test/soak/main.ts; `--help` lists them.
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
await import(pathToFileURL(inProject('dist', 'test', 'soak', 'main.js')).href);
