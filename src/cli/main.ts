/**
 * Entry point of the command. It loads the rest only when there are enough file descriptors for that: otherwise Node.js
 * fails in the middle, with an error that does not give the reason.
 */
import { descriptors } from '../common/descriptors.js';
import { messageOf } from '../common/errors.js';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

async function main(args: readonly string[]): Promise<void> {
  descriptors.requireEnough();
  const { readCommandLine } = await import('./commandLine.js');
  const line = readCommandLine(args[0] === 'serve' ? args.slice(1) : args);
  if ('text' in line) {
    process.stdout.write(line.text);
    return;
  }
  const [{ readConfig }, { runServer }] = await Promise.all([import('./config.js'), import('./serve.js')]);
  await runServer(await readConfig(line, process.env));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const usage = error instanceof Error && error.name === 'UsageError';
  process.stderr.write(`guestfs-grpc: ${messageOf(error)}\n`);
  if (usage) process.stderr.write('Try --help.\n');
  process.exit(usage ? EXIT_USAGE : EXIT_FAILURE);
});
