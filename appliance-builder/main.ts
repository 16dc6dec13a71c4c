/** The command `npm run appliance`. */
import { parseArgs } from 'node:util';

import { type BuildOptions, buildAppliance } from './build.js';
import { BuildCommandError } from './command.js';
import { defaultApplianceDirectory } from './location.js';
import { DEFAULT_SUITE, suiteNames } from './suite.js';
import { verifyReproducible } from './verify.js';

const USAGE = `Builds a fixed appliance, which libguestfs and guestfs-grpc can boot, from Debian packages.

  --suite NAME   Debian suite: ${suiteNames.join(', ')} (default ${DEFAULT_SUITE})
  --output DIR   directory to create (default ${defaultApplianceDirectory('<suite>')})
  --refresh      rebuild if the archive has newer packages
  --force        rebuild in any case
  --verify-reproducible
                 build it once more elsewhere, and fail unless the two are identical
  --help         this text
`;

/** Of the files that the build and the scripts of packages write: the user's own may hide them from the appliance. */
const UMASK = 0o022;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string' },
      output: { type: 'string' },
      refresh: { type: 'boolean', default: false },
      force: { type: 'boolean', default: false },
      'verify-reproducible': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  process.umask(UMASK);
  const started = Date.now();
  const options: BuildOptions = {
    ...(values.suite === undefined ? {} : { suite: values.suite }),
    ...(values.output === undefined ? {} : { output: values.output }),
    force: values.force,
    refresh: values.refresh,
    signal: stop.signal,
    log: (line) => process.stderr.write(`${line}\n`),
  };
  if (values['verify-reproducible']) {
    const { directory, differences, manifest } = await verifyReproducible(options);
    for (const line of differences) process.stdout.write(`${line}\n`);
    const verdict = differences.length === 0 ? 'reproducible' : 'NOT reproducible';
    process.stdout.write(`${directory}: ${verdict}; SHA-256 of root: ${manifest.files.root.sha256}\n`);
    return differences.length === 0 ? 0 : 1;
  }
  const { directory, manifest, built } = await buildAppliance(options);
  const what = `Debian ${manifest.suite}, guestfsd ${manifest.daemonVersion}, Linux ${manifest.kernelVersion}`;
  const how = built ? `built in ${((Date.now() - started) / 1000).toFixed(0)} s` : 'up to date';
  process.stdout.write(`${directory}: ${what}; ${how}\n`);
  return 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    // The stack trace of a failed command explains nothing.
    const expected = error instanceof BuildCommandError || (error instanceof Error && !(error instanceof TypeError));
    process.stderr.write(`appliance: ${expected ? error.message : String((error as Error)?.stack ?? error)}\n`);
    process.exitCode = 1;
  },
);
