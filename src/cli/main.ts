/** Entry point of the command. */
import { basename } from 'node:path';
import { messageOf } from '../common/errors.js';
import { readCommandLine, UsageError } from './commandLine.js';
import { readConfig } from './config.js';
import { runServer } from './serve.js';
import { storeTemplate } from './storeTemplate.js';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

/** The commands; without one of their names, the command is the first. */
const COMMANDS = ['serve', 'template'] as const;

async function main(script: string, args: readonly string[]): Promise<void> {
  const named = COMMANDS.find((command) => command === args[0]);
  const command = named ?? COMMANDS[0];
  const installed = basename(script).startsWith('guestfs-grpc');
  const name = installed ? `guestfs-grpc ${command}` : command === 'serve' ? 'npm start --' : command;
  const line = readCommandLine(named === undefined ? args : args.slice(1), name);
  if ('text' in line) {
    process.stdout.write(line.text);
    return;
  }
  if (command === 'template') await storeTemplate(line, process.env);
  else await runServer(await readConfig(line, process.env));
}

main(process.argv[1] ?? '', process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`guestfs-grpc: ${messageOf(error)}\n`);
  if (error instanceof UsageError) process.stderr.write('Try --help.\n');
  process.exit(error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE);
});
