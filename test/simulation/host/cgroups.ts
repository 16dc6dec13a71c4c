/** Cgroups on a simulated host. */
import type * as real from '../../../src/jail/cgroups.js';
import { world } from '../world.js';

export * from '../../../src/jail/cgroups.js';

export const createCgroup: typeof real.createCgroup = async () => {
  await world().hostWorks();
  const removed = world().opened('cgroup');
  return { entries: [], remove: async () => removed() };
};
