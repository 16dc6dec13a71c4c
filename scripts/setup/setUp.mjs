/** Everything that the server needs, in order; what is up to date is skipped. */
import { ensureAppliance } from './appliance.mjs';
import { ensureProductBuilt } from './build.mjs';
import { ensureGenerated } from './generated.mjs';
import { ensureNodePackages } from './nodePackages.mjs';
import { ensureSystemPackages } from './systemPackages.mjs';

/**
 * Sets up what is missing.
 * @param {{ appliance: boolean, purposes?: readonly import('../packages.mjs').Purpose[] }} options
 *   `appliance`: whether the default appliance is wanted; `purposes`: of packages, besides the server's.
 */
export async function setUpServer({ appliance, purposes = [] }) {
  await ensureSystemPackages(['server', ...(appliance ? appliancePurposes() : []), ...purposes]);
  await ensureNodePackages();
  await ensureGenerated();
  await ensureProductBuilt();
  if (appliance) await ensureAppliance();
}

/**
 * Building an appliance takes more from an ordinary user than from root.
 * @returns {readonly import('../packages.mjs').Purpose[]}
 */
export function appliancePurposes() {
  return process.getuid?.() === 0 ? ['appliance'] : ['appliance', 'applianceAsUser'];
}
