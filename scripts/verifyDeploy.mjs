/**
 * `npm run verify:deploy`: checks what is in deploy/ with the real programs: the image is built and run, the chart is
 * rendered and a real Kubernetes API server accepts every object, systemd reads its units. Not part of `npm test`, which
 * runs the proxies (`npm test -- mesh`): it takes many minutes, and needs root, Go, and registries for the image and the tools.
 *
 *   npm run verify:deploy                  everything
 *   npm run verify:deploy -- PART ...      units, compose, chart, cluster, image
 */
import { Checks } from './deploy/checks.mjs';
import { ensureAllBuilt } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { ensureSystemPackages } from './setup/systemPackages.mjs';
import { command } from './support/command.mjs';
import { StepFailed } from './support/run.mjs';
import { say, sinceStart } from './support/say.mjs';

const asked = process.argv.slice(2);

await command(async () => {
  await ensureNodePackages();
  const { PARTS } = await import('./deploy/parts.mjs');
  const unknown = asked.filter((name) => !(name in PARTS));
  if (unknown.length > 0)
    throw new StepFailed(
      `unknown part of the deployment: ${unknown.join(', ')}; choose from ${Object.keys(PARTS).join(', ')}`,
    );
  await ensureSystemPackages(['server', 'appliance', 'deploy']);
  await ensureGenerated();
  await ensureAllBuilt();
  const checks = new Checks();
  for (const [name, verify] of Object.entries(PARTS)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    say(`── ${name}`);
    await checks.part(name, verify);
  }
  say(`done (${sinceStart()})`);
  console.log(`${checks.passed} passed, ${checks.failed} failed`);
  process.exitCode = checks.failed === 0 ? 0 : 1;
});
