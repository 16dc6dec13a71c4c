/** The built appliances that integration tests boot. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from '@jest/globals';
import { defaultApplianceDirectory } from '../../appliance-builder/location.js';

/** The default appliance of a suite; undefined if it has not been built. */
export function builtAppliance(suite: string): string | undefined {
  const directory = defaultApplianceDirectory(suite);
  return ['kernel', 'initrd', 'root'].every((name) => existsSync(join(directory, name))) ? directory : undefined;
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
