/** The units of systemd. */
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { inProject } from '../support/project.mjs';
import { outcome } from './output.mjs';

/** The highest exposure, in tenths: 2.0. */
const EXPOSURE = 20;

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyUnits(checks) {
  const names = readdirSync(inProject('deploy', 'systemd'));
  const units = names.map((name) => inProject('deploy', 'systemd', name));
  const verified = outcome(['systemd-analyze', 'verify', ...units]);
  checks.that(
    'systemd accepts the units, without warnings',
    verified.output === '' && verified.status === 0,
    verified.output,
  );
  for (const service of units.filter((path) => path.endsWith('.service'))) {
    const security = outcome([
      ...['systemd-analyze', 'security', '--offline=yes', '--no-pager', `--threshold=${EXPOSURE}`],
      service,
    ]);
    const exposure = /exposure level for .*: (\d+\.\d+)/.exec(security.output)?.[1];
    checks.that(
      `the exposure of ${basename(service)} is at most ${(EXPOSURE / 10).toFixed(1)}: ${exposure ?? 'unknown'}`,
      security.status === 0 && exposure !== undefined,
      security.output,
    );
  }
}
