/**
 * `npm run test:clients`: builds the examples of all languages with stubs from the templates in proto/, and runs each
 * against a real server. Not part of `npm test`, since the builds take many minutes; that generates the stubs, and runs
 * the examples whose builds are quick.
 *
 *   npm run test:clients                    every language
 *   npm run test:clients -- LANGUAGE ...    cpp, java, rust, ...
 *
 * Everything that it makes is removed at its end, but for packages of Debian and of the languages, which stay installed or
 * in their caches. The last line is the total: `N passed, N failed, N skipped`.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { choose, languages } from './clients/languages.mjs';
import { tryLanguage } from './clients/tryLanguage.mjs';
import { startServer } from './conformance/server.mjs';
import { setUpServer } from './setup/setUp.mjs';
import { command } from './support/command.mjs';
import { inProject } from './support/project.mjs';
import { say, sinceStart } from './support/say.mjs';
import { checkLeftovers } from './testing/leftovers.mjs';
import { Sandbox } from './testing/sandbox.mjs';
import { add, nothing, oneFailed, onePassed, oneSkipped, tallyLine } from './testing/tally.mjs';

const COUNTS = { passed: onePassed, failed: oneFailed, skipped: oneSkipped };
const ALL = { page_size: 0, page_token: '', all_replicas: false };
const WORDS = { passed: 'ok', failed: 'FAILED', skipped: 'SKIPPED' };

const { asked, unknown } = choose(process.argv.slice(2));
if (unknown.length > 0) {
  say(`unknown language: ${unknown.join(', ')}; choose from ${languages.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}

/**
 * How many sessions a server has.
 * @param {string} address
 */
async function sessionsOf(address) {
  /** @type {typeof import('../clients/typescript/src/index.js')} */
  const { connect } = await import(inProject('dist', 'clients', 'typescript', 'src', 'index.js'));
  /** @type {typeof import('../gen/proto/guestfs/v1/session.js')} */
  const { SessionServiceService } = await import(inProject('dist', 'gen', 'proto', 'guestfs', 'v1', 'session.js'));
  const client = connect(address);
  try {
    const { sessions } = await client.call(SessionServiceService.listSessions, ALL);
    return sessions.length;
  } finally {
    client.close();
  }
}

/** @param {Sandbox} sandbox */
async function tryAll({ directory, env }) {
  const images = join(directory, 'images');
  mkdirSync(images);
  const log = openSync(join(directory, 'server.log'), 'w');
  const server = await startServer({ flags: ['--image-root', images], env, log });
  let total = nothing;
  try {
    for (const language of asked) {
      say(`── ${language.title}`);
      const outcomes = await tryLanguage(language, {
        directory: join(directory, language.name),
        address: server.address,
        sessions: () => sessionsOf(server.address),
      });
      for (const { result, line } of outcomes) {
        console.log(`${WORDS[result].padEnd(8)}${line}`);
        total = add(total, COUNTS[result]);
      }
    }
  } finally {
    if (!(await server.stop())) {
      say('the server did not shut down cleanly');
      total = add(total, oneFailed);
    }
    closeSync(log);
  }
  return total;
}

await command(async () => {
  await setUpServer({ appliance: true });
  const sandbox = new Sandbox();
  let total = nothing;
  try {
    total = await tryAll(sandbox);
    const left = await checkLeftovers(sandbox);
    if (left.failed > 0) total = add(total, left);
  } finally {
    sandbox.remove();
  }
  say(`done (${sinceStart()})`);
  console.log(tallyLine(total));
  process.exitCode = total.failed === 0 ? 0 : 1;
});
