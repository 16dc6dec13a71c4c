/** Sets up everything that the server needs. Steps that are up to date are skipped. */
import { ensureAppliance } from './appliance.mjs';
import { ensureProductBuilt } from './build.mjs';
import { ensureGenerated } from './generated.mjs';
import { ensureNodePackages } from './nodePackages.mjs';
import { ensureSystemPackages } from './systemPackages.mjs';

/**
 * Sets up what is missing.
 * @param {{ appliance: boolean, purposes?: readonly import('../packages.mjs').Purpose[], install?: boolean }} options
 *   `appliance`: whether the default appliance is wanted; `purposes`: of packages, besides the server's; `install`:
 *   whether missing system packages may be installed, by default unless the environment forbids it.
 */
export async function setUpServer({ appliance, purposes = [], install }) {
  await ensureSystemPackages(['server', ...(appliance ? appliancePurposes() : []), ...purposes], { install });
  await ensureNodePackages();
  await ensureGenerated();
  await ensureProductBuilt();
  if (appliance) await ensureAppliance();
}

/**
 * The packages for building an appliance: an ordinary user needs more of them than root.
 * @returns {readonly import('../packages.mjs').Purpose[]}
 */
export function appliancePurposes() {
  return process.getuid?.() === 0 ? ['appliance'] : ['appliance', 'applianceAsUser'];
}
