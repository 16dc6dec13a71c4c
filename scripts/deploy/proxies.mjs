/** Envoy's configuration, read by Envoy itself. */
import { chmodSync } from 'node:fs';
import { inProject } from '../support/project.mjs';
import { outcome } from './output.mjs';
import { envoy } from './tools.mjs';

/** @param {import('./checks.mjs').Checks} checks */
export async function verifyProxies(checks) {
  const program = await envoy();
  chmodSync(program, 0o755);
  const config = inProject('deploy', 'envoy', 'envoy.yaml');
  const { status, output } = outcome([
    program,
    '--mode',
    'validate',
    '--config-path',
    config,
    '--log-level',
    'warning',
  ]);
  checks.that('Envoy accepts its configuration, without warnings', status === 0 && !/\[warning\]/.test(output), output);
}
