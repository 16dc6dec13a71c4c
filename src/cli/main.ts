/** The command: `serve`, which is also what it does when nothing is said. */
import { messageOf } from '../common/errors.js';
import { SERVER_VERSION } from '../common/version.js';
import { readConfig } from './config.js';
import { parseFlags, usage, UsageError } from './flags.js';
import { runServer } from './serve.js';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

async function main(args: readonly string[]): Promise<void> {
  const flags = parseFlags(args[0] === 'serve' ? args.slice(1) : args, process.env);
  if (flags['help'] === true) {
    process.stdout.write(usage());
    return;
  }
  if (flags['version'] === true) {
    process.stdout.write(`guestfs-grpc ${SERVER_VERSION}\n`);
    return;
  }
  await runServer(await readConfig(flags, process.env));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`guestfs-grpc: ${messageOf(error)}\n`);
  if (error instanceof UsageError) process.stderr.write('Try --help.\n');
  process.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE);
});
