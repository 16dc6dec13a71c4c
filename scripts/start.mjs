/**
 * `npm start`: sets up what is missing, from system packages to the appliance, then serves.
 * Everything after `--` goes to the server. Plain Node.js: on a fresh checkout nothing is
 * installed yet.
 *
 * (package.json starts it with "exec": npm passes signals on to the shell, which would not.)
 */
import { pathToFileURL } from 'node:url';
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { say, sinceStart } from './support/say.mjs';

const flags = process.argv.slice(2);

/** True if the person who starts the server brings an appliance. */
function applianceIsGiven() {
  return (
    Boolean(process.env.LIBGUESTFS_PATH) ||
    Boolean(process.env.GUESTFS_GRPC_APPLIANCE) ||
    flags.some((flag) => flag === '--appliance' || flag.startsWith('--appliance='))
  );
}

/**
 * Becomes the server. It runs in this process: what a signal does to `npm start` it does to
 * the server, SIGKILL too, and the server's exit code is this one's.
 */
async function serve() {
  const main = inProject('dist', 'src', 'cli', 'main.js');
  process.argv.splice(1, Infinity, main, 'serve', ...flags);
  await import(pathToFileURL(main).href);
}

await command(() => setUpServer({ appliance: !applianceIsGiven() }));
say(`everything is set up (${sinceStart()}); starting the server`);
await serve();
