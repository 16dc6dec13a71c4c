/**
 * `npm run verify:deploy`: checks what is in deploy/ with the real programs: the image is built and run, the chart is
 * rendered and a real Kubernetes API server accepts every object, systemd reads its units. Not part of `npm test`, which
 * runs the proxies (`npm test -- mesh`): it takes many minutes, and needs root, Go, and registries for the image and the tools.
 *
 *   npm run verify:deploy                  everything
 *   npm run verify:deploy -- PART ...      units, chart, cluster, image
 */
import { verifyChart } from './deploy/chart.mjs';
import { Checks } from './deploy/checks.mjs';
import { verifyCluster } from './deploy/cluster.mjs';
import { verifyImage } from './deploy/image.mjs';
import { verifyUnits } from './deploy/units.mjs';
import { ensureAllBuilt } from './setup/build.mjs';
import { ensureGenerated } from './setup/generated.mjs';
import { ensureNodePackages } from './setup/nodePackages.mjs';
import { ensureSystemPackages } from './setup/systemPackages.mjs';
import { command } from './support/command.mjs';
import { say, sinceStart } from './support/say.mjs';

/** The quickest first. */
const PARTS = {
  units: verifyUnits,
  chart: verifyChart,
  cluster: verifyCluster,
  image: verifyImage,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  say(`unknown part of the deployment: ${unknown.join(', ')}; choose from ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}

await command(async () => {
  await ensureSystemPackages(['server', 'appliance', 'deploy']);
  await ensureNodePackages();
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
