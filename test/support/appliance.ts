/** The built appliances that integration tests boot. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from '@jest/globals';
import { defaultApplianceDirectory } from '../../appliance-builder/location.js';

/** The default appliance of a suite; undefined if it has not been built. */
export function builtAppliance(suite: string): string | undefined {
  const directory = defaultApplianceDirectory(suite);
  return ['kernel', 'initrd', 'root'].every((name) => existsSync(join(directory, name))) ? directory : undefined;
}

/**
 * Notes in a cache which appliances were compared with their checksums before, so that servers that use it need not read
 * them again, 4 GiB each time.
 */
export function keepChecks(cache: string): void {
  const name = `guestfs-grpc-${process.geteuid?.() ?? 0}`;
  const known = join(process.env['LIBGUESTFS_CACHEDIR'] ?? '/var/tmp', name);
  if (!existsSync(known)) return;
  mkdirSync(join(cache, name), { recursive: true, mode: 0o700 });
  for (const check of readdirSync(known))
    if (check.startsWith('checked-')) writeFileSync(join(cache, name, check), '', { mode: 0o600 });
}

/** Reports why something cannot be tested on this host: in unattended runs as a failure, otherwise as a visible skip. */
export function describeWhen(name: string, missing: string | undefined, body: () => void): void {
  if (missing === undefined) {
    describe(name, body);
  } else if (process.env['CI']) {
    describe(name, () => {
      it('can be tested', () => {
        throw new Error(missing);
      });
    });
  } else {
    process.stderr.write(`\nSKIPPED: ${name}: ${missing}\n\n`);
    describe.skip(name, body);
  }
}

/** `describe` for tests that boot the default appliance. */
export function describeWithAppliance(name: string, body: () => void): void {
  describeWhen(
    name,
    builtAppliance('trixie') === undefined ? 'there is no appliance: npm run appliance' : undefined,
    body,
  );
}
