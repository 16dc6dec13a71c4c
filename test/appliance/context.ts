/** What the tests of the appliance builder share. */
import type { BuildContext } from '../../appliance-builder/command.js';

/** A context that discards the log and is never cancelled. */
export function quiet(signal: AbortSignal = new AbortController().signal): BuildContext {
  return { log: () => undefined, signal };
}
