/** Entry point of the command. */
import { messageOf } from '../common/errors.js';
import { readCommandLine, UsageError } from './commandLine.js';
import { readConfig } from './config.js';
import { runServer } from './serve.js';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

async function main(args: readonly string[]): Promise<void> {
  const line = readCommandLine(args[0] === 'serve' ? args.slice(1) : args);
  if ('text' in line) {
    process.stdout.write(line.text);
    return;
  }
  await runServer(await readConfig(line, process.env));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`guestfs-grpc: ${messageOf(error)}\n`);
  if (error instanceof UsageError) process.stderr.write('Try --help.\n');
  process.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE);
});
