/** A system that was found, before its facts are known. */
import type { WindowsFacts } from './mending/windows.js';

export interface FoundSystem {
  /** The file system that it is on. */
  readonly root: string;
  /** Where it is there: not in / if it is a deployment of OSTree. */
  readonly directory: string;
  /** True if the daemon has found it, so that the inspection actions answer. */
  readonly isInspected: boolean;
  /** Earlier states of it. */
  readonly snapshots: readonly string[];
  /** What the daemon can no longer say, because it kept it from inspecting. */
  readonly windows?: WindowsFacts | undefined;
}

/** A system as the daemon finds it. */
export function inspected(root: string, windows?: WindowsFacts): FoundSystem {
  return { root, directory: '/', isInspected: true, snapshots: [], windows };
}
