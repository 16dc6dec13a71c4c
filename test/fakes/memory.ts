/** How much memory something uses. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose_gc');

/** Collects all garbage that V8 can find; the contents of buffers may be freed later, in another thread. */
export const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes in use after garbage collection, including buffers. */
export function memoryInUse(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
