/** `npm run setup`: sets up what the server needs (packages, build, appliance), and exits. */
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { say, sinceStart } from './support/say.mjs';

const unknown = process.argv.slice(2);
if (unknown.length > 0) {
  say(`npm run setup takes no arguments: ${unknown.join(' ')}`);
  process.exit(2);
}
await command(() => setUpServer({ appliance: true, install: true }));
say(`set-up is complete (${sinceStart()}); npm start serves`);
