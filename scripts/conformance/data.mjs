/** The disk image and files that the test vectors expect: made once, and kept in the user's cache. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fingerprint } from '../support/fingerprint.mjs';
import { root } from '../support/project.mjs';
import { run } from '../support/run.mjs';
import { say } from '../support/say.mjs';

/**
 * Directory with the test data of a suite.
 * @param {import('./suite.mjs').Suite} suite
 */
export async function ensureData(suite) {
  const version = fingerprint(suite.dataSources.map((path) => relative(root, path))).slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const directory = join(cache, 'guestfs-grpc', `conformance-data-${version}`);
  if (existsSync(directory)) return directory;
  say('making the test data');
  mkdirSync(dirname(directory), { recursive: true });
  // Made next to the destination and then moved there, so that it is never incomplete.
  const fresh = mkdtempSync(`${directory}.`);
  try {
    await run(suite.makeDataCommand(fresh));
    chmodSync(fresh, 0o755);
    renameSync(fresh, directory);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return directory;
}
