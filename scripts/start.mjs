/**
 * `npm start`: sets up what is missing, from system packages to the appliance, then serves. With `--no-setup` it changes
 * nothing: it serves with what is installed, or reports what is missing. Other arguments after `--` go to the server.
 * Plain Node.js: on a fresh checkout nothing is installed yet.
 *
 * (package.json starts it with "exec": npm sends signals to the shell, which would not pass them on.)
 */
import { pathToFileURL } from 'node:url';
import { requireServer } from './setup/missing.mjs';
import { startRequest } from './setup/noSetup.mjs';
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { say, sinceStart } from './support/say.mjs';

/**
 * Becomes the server. It runs in this process: a signal to `npm start`, SIGKILL included, is a signal to the server, and
 * the server's exit code is the script's.
 * @param {readonly string[]} args
 */
async function serve(args) {
  const main = inProject('dist', 'src', 'cli', 'main.js');
  process.argv.splice(1, Infinity, main, 'serve', ...args);
  await import(pathToFileURL(main).href);
}

await command(async () => {
  const { setUp, ownAppliance, serverArgs } = startRequest(process.argv.slice(2), process.env);
  if (setUp) {
    await setUpServer({ appliance: !ownAppliance });
    say(`set-up is complete (${sinceStart()}); starting the server`);
  } else {
    await requireServer({ ownAppliance });
  }
  if (serverArgs.includes('--help'))
    say('--no-setup starts the server without installing, compiling or downloading anything; the other flags:');
  await serve(serverArgs);
});
