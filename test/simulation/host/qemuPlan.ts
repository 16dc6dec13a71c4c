/** The plan of a qemu on a simulated host, which has no jails. */
import type * as real from '../../../src/qemu/qemuJail.js';

export * from '../../../src/qemu/qemuJail.js';

export const qemuPlan: typeof real.qemuPlan = async ({ binary, args }, { runDirectory }) => ({
  program: binary as never,
  args,
  user: undefined,
  limits: {},
  directory: runDirectory,
});
