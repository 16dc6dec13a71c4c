/** `npm run generate`: regenerates everything that derives from the action list. */
import { generate } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';
import { say, sinceStart } from './support/say.mjs';

await command(async () => {
  await ensureNodePackages();
  await generate();
  say(`generated (${sinceStart()})`);
});
