/** `npm run openapi -- [FILE]`: writes the OpenAPI document of the gateway, by default into openapi.json. */
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { ensureProductBuilt } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { say } from './support/say.mjs';

await command(async () => {
  await ensureNodePackages();
  await ensureGenerated();
  await ensureProductBuilt();
  // Compiled only now.
  const module = pathToFileURL(inProject('dist', 'src', 'gateway', 'openApi.js')).href;
  const { openApiText } = /** @type {import('../src/gateway/openApi.js')} */ (await import(module));
  const file = process.argv[2] ?? 'openapi.json';
  writeFileSync(file, await openApiText());
  say(`${file} is written`);
});
