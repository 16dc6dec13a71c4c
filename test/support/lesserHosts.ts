/** Hosts that grant a server less than this one does. */
import { chmodSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestServerOptions } from './testServer.js';

/** What keeps programs apart there. */
export type Means = 'namespaces' | 'landlock' | 'none';

const WITHOUT_LANDLOCK = fileURLToPath(new URL('../../../test/support/withoutLandlock.py', import.meta.url));

/**
 * Options of a server on such a host.
 * @param directory an empty one, for what that takes
 */
export function hostWith(means: Means, directory: string): Required<Pick<TestServerOptions, 'env' | 'before'>> {
  if (means === 'namespaces') return { env: {}, before: ':' };
  const programs = join(directory, 'programs');
  mkdirSync(programs);
  // The server may be another user.
  for (const path of [directory, programs]) chmodSync(path, 0o755);
  for (const from of ['/usr/sbin', '/usr/bin'])
    for (const name of readdirSync(from)) {
      if (name === 'bwrap') continue;
      try {
        symlinkSync(join(from, name), join(programs, name));
      } catch {
        // In both.
      }
    }
  return {
    env: { PATH: programs },
    before: means === 'none' ? `set -- /usr/bin/python3 ${WITHOUT_LANDLOCK} "$@"` : ':',
  };
}
