/** Simulates hosts on which a server has fewer means of isolation than on this one. */
import { chmodSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestServerOptions } from './testServer.js';

/** The means of isolation there. */
export type Means = 'namespaces' | 'landlock' | 'none';

const WITHOUT_LANDLOCK = fileURLToPath(new URL('../../../test/support/withoutLandlock.py', import.meta.url));

/**
 * Options of a server on such a host.
 * @param directory an empty directory for the files that this needs
 */
export function hostWith(means: Means, directory: string): Required<Pick<TestServerOptions, 'env' | 'before'>> {
  if (means === 'namespaces') return { env: {}, before: ':' };
  const programs = join(directory, 'programs');
  mkdirSync(programs);
  // The server may run as another user.
  for (const path of [directory, programs]) chmodSync(path, 0o755);
  for (const from of ['/usr/sbin', '/usr/bin'])
    for (const name of readdirSync(from)) {
      if (name === 'bwrap') continue;
      try {
        symlinkSync(join(from, name), join(programs, name));
      } catch {
        // The name exists in both directories.
      }
    }
  return {
    env: { PATH: programs },
    before: means === 'none' ? `set -- /usr/bin/python3 ${WITHOUT_LANDLOCK} "$@"` : ':',
  };
}
