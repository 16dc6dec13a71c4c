/** The part of a corpus that is worth to be kept with the sources: few and short inputs that reach as much as all. */
import type { Probes } from './probes.js';
import type { Target } from './target.js';

/** @param corpus inputs with which the target does not fail */
export async function leastCover(target: Target, probes: Probes, corpus: readonly Buffer[]): Promise<Buffer[]> {
  const reached = new Set<number>();
  const chosen: Buffer[] = [];
  const learn = async (input: Buffer): Promise<boolean> => {
    probes.edges.fill(0);
    await target.run(Buffer.from(input));
    const before = reached.size;
    for (let place = 0; place < probes.used; place += 1) if (probes.edges[place] !== 0) reached.add(place);
    return reached.size > before;
  };
  // What the target begins with anyway need not be kept.
  for (const seed of await target.seeds()) await learn(seed);
  for (const input of [...corpus].sort((one, other) => one.length - other.length))
    if (await learn(input)) chosen.push(input);
  return chosen;
}
