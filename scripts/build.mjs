/** `npm run build`: generates what is generated, then compiles everything, tests included. */
import { buildAll } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { say, sinceStart } from './support/say.mjs';

await command(async () => {
  await ensureNodePackages();
  await ensureGenerated();
  await buildAll();
  say(`built (${sinceStart()})`);
});
