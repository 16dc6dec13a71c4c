/** Before `npm pack`: generates and compiles what the package contains, and removes the output of deleted sources. */
import { ensureProductBuilt, prune } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { command } from './support/command.mjs';

await command(async () => {
  await ensureNodePackages();
  await ensureGenerated();
  await ensureProductBuilt();
  prune();
});
