/**
 * `npm run conformance -- DIR`: replays libguestfs's own API tests, which are in DIR, over gRPC.
 *
 *   --only REGEX      only these test vectors, which are named `action:index`
 *   --jobs N          sessions at a time
 *   --appliance DIR   an appliance other than the default one
 *   --verbose         the server logs at debug level
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runConformance } from './conformance/runConformance.mjs';
import { Suite } from './conformance/suite.mjs';
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { sinceStart } from './support/say.mjs';
import { tallyLine } from './testing/tally.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    jobs: { type: 'string' },
    appliance: { type: 'string' },
    verbose: { type: 'boolean' },
  },
});
const directory = resolve(positionals[0] ?? inProject('..', 'shared', 'conformance'));

await command(async () => {
  if (new Suite(directory).exists())
    await setUpServer({ appliance: values.appliance === undefined, purposes: ['conformance'] });
  const tally = await runConformance({
    directory,
    only: values.only,
    jobs: values.jobs === undefined ? undefined : Number(values.jobs),
    appliance: values.appliance === undefined ? undefined : resolve(values.appliance),
    env: values.verbose === true ? { GUESTFS_GRPC_LOG_LEVEL: 'debug' } : {},
  });
  console.log(`conformance took ${sinceStart()}`);
  console.log(tallyLine(tally));
  process.exitCode = tally.failed === 0 ? 0 : 1;
});
