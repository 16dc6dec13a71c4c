/** Loads the project's own modules with probes in them: hooks of Node.js, which run in a thread of their own. */
import type { LoadHook } from 'node:module';
import { instrument } from './instrument.js';

/** Compiled code that is fuzzed; the tests, and what they need, is not. */
const FUZZED = /\/dist\/(?:src|gen)\//;
/** Code whose literals say something about inputs; the others are generated. */
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
