/** `npm run appliance -- FLAGS`: builds an appliance; `--help` lists the flags. */
import { appliancePurposes } from './setup/setUp.mjs';
import { ensureProductBuilt } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { ensureSystemPackages } from './setup/systemPackages.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { start } from './support/run.mjs';

await command(async () => {
  await ensureSystemPackages(appliancePurposes());
  await ensureNodePackages();
  await ensureGenerated();
  await ensureProductBuilt();
  const ended = await start([
    process.execPath,
    inProject('dist', 'appliance-builder', 'main.js'),
    ...process.argv.slice(2),
  ]);
  process.exitCode = typeof ended === 'number' ? ended : 1;
});
