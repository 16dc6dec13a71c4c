/** Selects the part of a corpus worth keeping in the source tree: a few short inputs with most of the coverage. */
import type { Probes } from './probes.js';
import type { Target } from './target.js';

/** Longer inputs are unreadable, and more of them than this would add little. */
const LONGEST = 512;
const MOST = 40;

/**
 * @param kept inputs that are already in the source tree
 * @param corpus inputs with which the target does not fail
 */
export async function leastCover(
  target: Target,
  probes: Probes,
  kept: readonly Buffer[],
  corpus: readonly Buffer[],
): Promise<Buffer[]> {
  const reached = new Set<number>();
  /** Number of places that the target reaches with this input but with none before it. */
  const learn = async (input: Buffer): Promise<number> => {
    probes.edges.fill(0);
    await target.run(Buffer.from(input));
    const before = reached.size;
    for (let place = 0; place < probes.used; place += 1) if (probes.edges[place] !== 0) reached.add(place);
    return reached.size - before;
  };
  for (const input of [...(await target.seeds()), ...kept]) await learn(input);
  const useful: { readonly input: Buffer; readonly places: number }[] = [];
  for (const input of [...corpus].sort((one, other) => one.length - other.length)) {
    const places = input.length > LONGEST ? 0 : await learn(input);
    if (places > 0) useful.push({ input, places });
  }
  return useful
    .sort((one, other) => other.places - one.places)
    .slice(0, MOST)
    .map(({ input }) => input);
}
