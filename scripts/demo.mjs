/**
 * `npm run demo`: a two-minute tour with its own server and disk image. Sets up what is missing
 * first.
 */
import { pathToFileURL } from 'node:url';
import { ensureAllBuilt } from './setup/build.mjs';
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';

await command(async () => {
  await setUpServer({ appliance: true });
  await ensureAllBuilt();
});
await import(pathToFileURL(inProject('dist', 'demo', 'main.js')).href);
