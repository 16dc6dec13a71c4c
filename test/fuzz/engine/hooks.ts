/** Module hooks for Node.js that add probes to the project's own modules; they run in a separate thread. */
import type { LoadHook } from 'node:module';
import { instrument } from './instrument.js';

/** Compiled code that is fuzzed; the tests and their helpers are not. */
const FUZZED = /\/dist\/(?:src|gen)\//;
/** Code whose literals are useful in inputs; the rest is generated. */
const WRITTEN = /\/dist\/src\//;

let next = 0;

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  if (!FUZZED.test(url) || loaded.format !== 'module' || loaded.source === undefined) return loaded;
  const text = typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
  const { text: source, end } = instrument(text, url, next, WRITTEN.test(url));
  next = end;
  return { ...loaded, source };
};
