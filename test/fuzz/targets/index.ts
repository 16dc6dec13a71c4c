/** All targets. Each is loaded separately: the fewer places in the code a process watches, the faster it is. */
import type { Target } from '../engine/target.js';

const TARGETS: Readonly<Record<string, () => Promise<Target>>> = {
  frames: async () => (await import('./frames.js')).frames,
  replies: async () => (await import('./replies.js')).replies,
  qemu: async () => (await import('./qemu.js')).qemu,
  headers: async () => (await import('./headers.js')).headers,
  mappings: async () => (await import('./mappings.js')).mappings,
  archives: async () => (await import('./archives.js')).archives,
  documents: async () => (await import('./documents.js')).documents,
  packages: async () => (await import('./packages.js')).packages,
  identities: async () => (await import('./identities.js')).identities,
  replicas: async () => (await import('./replicas.js')).replicas,
  requests: async () => (await import('./requests.js')).requests,
  domains: async () => (await import('./domains.js')).domains,
  records: async () => (await import('./records.js')).records,
};

export const targetNames: readonly string[] = Object.keys(TARGETS);

/** @throws Error if there is no such target */
export async function findTarget(name: string): Promise<Target> {
  const load = TARGETS[name];
  if (load === undefined) throw new Error(`there is no target '${name}'; there are ${targetNames.join(', ')}`);
  return load();
}
