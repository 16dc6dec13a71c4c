/** Single tests that need something of the host. */
import { it } from '@jest/globals';

/** `it`, or a skip that says why. @param missing what the host lacks; undefined: nothing */
export function itWhen(name: string, missing: string | undefined): typeof it | typeof it.skip {
  if (missing === undefined) return it;
  process.stderr.write(`\nSKIPPED: ${name}: ${missing}\n\n`);
  return it.skip;
}
