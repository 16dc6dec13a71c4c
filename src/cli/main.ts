/**
 * Entry point of the command. It loads the rest only when there are enough file descriptors for that: otherwise Node.js
 * fails in the middle, with an error that does not give the reason.
 */
import { basename } from 'node:path';
import { descriptors } from '../common/descriptors.js';
import { messageOf } from '../common/errors.js';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

/** The commands; without one of their names, the command is the first. */
const COMMANDS = ['serve', 'template', 'drain', 'gateway'] as const;

async function main(script: string, args: readonly string[]): Promise<void> {
  descriptors.requireEnough();
  const named = COMMANDS.find((command) => command === args[0]);
  const command = named ?? COMMANDS[0];
  const installed = basename(script).startsWith('guestfs-grpc');
  const name = installed ? `guestfs-grpc ${command}` : command === 'serve' ? 'npm start --' : command;
  if (command === 'drain') {
    const { drain } = await import('./drain.js');
    await drain(args.slice(1), process.env, name);
    return;
  }
  if (command === 'gateway') {
    const { runGateway } = await import('./gateway.js');
    await runGateway(args.slice(1), name);
    return;
  }
  const { readCommandLine } = await import('./commandLine.js');
  const line = readCommandLine(named === undefined ? args : args.slice(1), name);
  if ('text' in line) {
    process.stdout.write(line.text);
    return;
  }
  if (command === 'template') {
    const { storeTemplate } = await import('./storeTemplate.js');
    await storeTemplate(line, process.env);
    return;
  }
  const [{ readConfig }, { runServer }] = await Promise.all([import('./config.js'), import('./serve.js')]);
  await runServer(await readConfig(line, process.env));
}

main(process.argv[1] ?? '', process.argv.slice(2)).catch((error: unknown) => {
  const usage = error instanceof Error && error.name === 'UsageError';
  process.stderr.write(`guestfs-grpc: ${messageOf(error)}\n`);
  if (usage) process.stderr.write('Try --help.\n');
  process.exit(usage ? EXIT_USAGE : EXIT_FAILURE);
});
